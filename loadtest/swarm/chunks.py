"""Chunks of a body, as they lie in what has been read of it: RFC 9112, section 7.1."""

from __future__ import annotations

from typing import Final

__all__ = ["ChunkError", "chunk_at"]

LONGEST_LINES: Final = 65_536
"""Bytes of a size, or of all trailers."""
_CRLF: Final = b"\r\n"


class ChunkError(ValueError):
    """The bytes are no chunks."""


def chunk_at(raw: bytes | bytearray, at: int) -> tuple[int, int, int] | None:
    """Return where the content of the chunk at `at` begins and ends, and where the next one is; None: not all is there.

    The last one has no content; the trailers after it are skipped. Raises ChunkError.
    """
    line = raw.find(_CRLF, at)
    if line < 0:
        if len(raw) - at > LONGEST_LINES:
            raise ChunkError("a chunk without a size")
        return None
    try:
        size = int(raw[at:line].partition(b";")[0], 16)
    except ValueError:
        size = -1
    if size < 0:  # a negative one would be read for ever
        raise ChunkError("a chunk without a size")
    start = line + 2
    if not size:
        empty = raw.find(_CRLF + _CRLF, line)
        if empty < 0 and len(raw) - start > LONGEST_LINES:
            raise ChunkError("trailers without an end")
        return None if empty < 0 else (start, start, empty + 4)
    end = start + size
    if len(raw) < end + 2:
        return None
    if raw[end : end + 2] != _CRLF:
        raise ChunkError("a chunk that does not end where it should")
    return start, end, end + 2
