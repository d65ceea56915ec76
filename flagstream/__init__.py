"""Flagstream: feature-flag changes, pushed to every running app within milliseconds.

This package is the command line, which starts the programs, and the leaves that the programs import:
`flagstream.settings`, `flagstream.logs`, `flagstream.protocol`, `flagstream.cancelling`, `flagstream.endings` and
`flagstream.temporary`. The leaves import nothing of ours.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
