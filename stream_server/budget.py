"""How many events fit into the bytes that one stream may have.

A CDN replays a stream so far to everyone who joins it, so a stream is bounded in events and in bytes of body, HTTP/1.1
chunk framing and heartbeats included. Frames differ by a few digits only: the longest is what is counted with.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from stream_server.frames import HEARTBEAT, encode_event, encode_opening

__all__ = ["EVENT_BYTES", "bytes_for", "events_that_fit"]

CHUNK: Final = len(b"ff\r\n\r\n")
"""Bytes around the content of a chunk below 256 bytes (RFC 9112, section 7.1)."""

DIGITS: Final = 8
"""Decimal places of the longest number: 17 significant digits tell any double, and ten stand before the point."""

EVENT_BYTES: Final = CHUNK + len(encode_event(1_000_000_000_000_000)) + DIGITS
HEARTBEAT_BYTES: Final = CHUNK - 1 + len(HEARTBEAT)
ENDS_BYTES: Final = EVENT_BYTES + len(encode_opening(None, 100_000)) + len(b"0\r\n\r\n")
"""The opening block and the final chunk."""

LATE: Final = 10.0
"""Seconds that a stream may go on after its lifetime: one whose client does not read is cut a little later."""


def events_that_fit(most: int, *, lifetime: float, heartbeat: float) -> int:
    """Return how many events fit into `most` bytes beside what else a stream of `lifetime` seconds carries."""
    return max((most - _others(lifetime, heartbeat)) // EVENT_BYTES, 0)


def bytes_for(events: int, *, lifetime: float, heartbeat: float) -> int:
    """Return the bytes that a stream with `events` events can have."""
    return events * EVENT_BYTES + _others(lifetime, heartbeat)


def _others(lifetime: float, heartbeat: float) -> int:
    return ENDS_BYTES + ceil((lifetime + LATE) / heartbeat) * HEARTBEAT_BYTES
