"""Flagstream: feature-flag changes, pushed to every running app within milliseconds.

This package is the command line, which starts the programs, and three leaves that the programs import:
`flagstream.settings`, `flagstream.logs` and `flagstream.protocol`. The leaves import nothing of ours.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
