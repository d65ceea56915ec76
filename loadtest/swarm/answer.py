"""The answer to a fetch as it comes: its head, and where its body ends."""

from __future__ import annotations

from typing import Final

from loadtest.swarm.chunks import chunk_at
from loadtest.swarm.head import HEAD_END, Head, after_interim

__all__ = ["Answer"]

_WITHOUT_BODY: Final = (204, 304)


class Answer:
    """One answer; `head` is None until that has come."""

    __slots__ = ("_at", "_text", "head")

    def __init__(self) -> None:
        self.head: Head | None = None
        self._text = bytearray()
        self._at = 0
        """Where the body begins, or its next chunk."""

    @property
    def has_begun(self) -> bool:
        """Whether anything has come of it."""
        return bool(self._text)

    def feed(self, data: bytes) -> bool:
        """Take a piece, an empty one if nothing more comes, and return whether all is there; raises ChunkError."""
        self._text += data
        head = self.head or self._read_head()
        if head is None:
            return False
        if head.chunked:
            return self._has_last_chunk()
        if head.length >= 0:
            return len(self._text) >= self._at + head.length
        return not data or head.status in _WITHOUT_BODY

    def _read_head(self) -> Head | None:
        end = self._text.find(HEAD_END)
        while end >= 0 and (after := after_interim(self._text, end)) is not None:
            self._text = bytearray(after)
            end = self._text.find(HEAD_END)
        if end >= 0:
            self.head = Head(bytes(self._text[: end + 2]))
            self._at = end + len(HEAD_END)
        return self.head

    def _has_last_chunk(self) -> bool:
        while (chunk := chunk_at(self._text, self._at)) is not None:
            start, end, self._at = chunk
            if start == end:
                return True
        return False
