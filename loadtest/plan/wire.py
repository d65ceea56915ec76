"""Bytes of a stream on the wire, as the stream server sends them; a test holds them to tests/golden."""

from __future__ import annotations

from typing import Final

__all__ = ["DOCUMENT_HEAD", "EVENT", "HEAD", "HEARTBEAT", "OPENING", "PACKET", "STREAM", "chunked"]

HEAD: Final = 329
"""The response's head, as in tests/golden/stream_response.http."""
OPENING: Final = 81
"""The first event with `retry:`."""
EVENT: Final = 69
HEARTBEAT: Final = 8
"""A comment line and its end."""
PACKET: Final = 52
"""Headers of IPv4 and TCP with time stamps, which clouds bill and CDNs do not."""
DOCUMENT_HEAD: Final = 500
"""The head of a document's answer, about: CORS, version and date."""


def chunked(body: int) -> int:
    """Return the bytes of one HTTP/1.1 chunk with `body` bytes in it."""
    return len(f"{body:x}") + 2 + body + 2


STREAM: Final = HEAD + chunked(OPENING) + len("0\r\n\r\n")
"""What every stream costs, whatever is told on it."""
