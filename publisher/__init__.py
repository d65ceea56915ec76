"""The control plane: management API, dashboard, change log, outbox; and `Publisher`, the library.

`publisher.messages` is the contract with the broker and the only module of this package that other packages may
import. This package imports `flagstream.settings` and `flagstream.logs` and nothing else of ours. Importing it loads
neither the database nor the web framework, so an app that only announces needs neither.
"""
