"""The data plane: SSE streams of environment updates, and flag documents through a layered cache.

Versions flow one way: `feed` reads them from NATS, `hub` turns each into one encoded frame and hands it to every
stream of that environment, `endpoint` is the HTTP side of a stream. `engine` is what carries streams whatever they are
told: `app` feeds it, `waiting_room` tells them nothing while no stream server answers. This package imports
`publisher.messages` (the contract with the broker belongs to its producer), `flagstream.settings` and
`flagstream.logs`, and nothing else of ours.
"""
