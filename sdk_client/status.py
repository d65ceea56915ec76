"""How a client stands, in one word."""

from __future__ import annotations

from enum import Enum

__all__ = ["Status"]


class Status(Enum):
    """How fresh the flags are. Short gaps, as between two streams, are not a change of status."""

    STARTING = "starting"
    """Nothing has come from the server yet; flags are those of the bootstrap or of the cache, if any."""
    CURRENT = "current"
    """A stream is live, or was a moment ago, and the flags are as new as it has told of."""
    POLLING = "polling"
    """No stream, but the last poll was answered: the flags may be a polling interval old."""
    STALE = "stale"
    """There are flags, but neither stream nor fetches work: nobody knows how old they are."""
    OFFLINE = "offline"
    """The client does not ask anybody, as it was told."""
    CLOSED = "closed"
    """The client was closed, or ended by a fault of its own; flags stay as they were."""
