"""The bytes of a stream: event blocks and heartbeats, and the chunks of HTTP/1.1 around them.

Pure functions. Fields are ``event``, ``data`` and ``retry``, and comments; LF line ends (WHATWG HTML, section 9.2).
There is no ``id`` and no event of another kind: with an id a published SDK puts it into the URL of its next request,
and several SDKs parse every ``data`` line whatever its event is called.
"""

from __future__ import annotations

from typing import Final

from publisher.messages import wire_number

__all__ = [
    "HEARTBEAT",
    "HEARTBEAT_CHUNK",
    "LAST_CHUNK",
    "Frame",
    "encode_chunk",
    "encode_event",
    "encode_opening",
]


class Frame:
    """One version of one environment, encoded once for all: `block` is the event, `chunk` what HTTP/1.1 makes of it."""

    __slots__ = ("block", "chunk", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.block = encode_event(version)
        self.chunk = encode_chunk(self.block)

    def __repr__(self) -> str:
        return f"Frame({self.version})"


def encode_event(version: int) -> bytes:
    """Return the event block that announces `version` (microseconds)."""
    return b'event: environment_updated\ndata: {"updated_at": %s}\n\n' % wire_number(version).encode()


def encode_opening(newest: Frame | None, retry: int) -> bytes:
    """Return the first block of a stream: the newest version, if one is known, and `retry` in milliseconds."""
    event = b"" if newest is None else newest.block[:-1]
    return b"%sretry: %d\n\n" % (event, retry)


def encode_chunk(data: bytes) -> bytes:
    """Return `data`, not empty, as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


HEARTBEAT: Final = b": ping\n\n"
"""A comment that keeps intermediaries from taking silence for the end of the stream."""

HEARTBEAT_CHUNK: Final = encode_chunk(HEARTBEAT)

LAST_CHUNK: Final = b"0\r\n\r\n"
"""What a body ends with; one without it is known to be cut."""
