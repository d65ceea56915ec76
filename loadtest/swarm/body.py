"""Reading the bodies of streams, and reading each piece only once however many streams it comes to.

All streams of an environment are sent the same bytes, so what a piece means is looked up by the piece itself: a
hundred bytes are hashed where they would have to be taken out of their chunk, decoded and parsed.
"""

from __future__ import annotations

from typing import Final

from loadtest.swarm.chunks import ChunkError, chunk_at
from sdk_client.decoder import Comment, Decoder, Event, Retry
from sdk_client.errors import StreamLimitError
from sdk_client.versions import event_version

__all__ = ["BEGINS", "END", "HEARTBEAT", "INVALID", "RETRY", "Body", "BodyError", "Meanings"]

HEARTBEAT: Final = 0
"""A comment."""

END: Final = -1
"""The end of the body, as the framing has it."""

INVALID: Final = -2
"""An event without a version."""

RETRY: Final = -1000
"""This less the milliseconds that the server asks for; what is positive is a version."""

_KNOWN_PIECES: Final = 4096
_MARKED: Final = b"\n\xef"
"""Comes before or in every chunk that may begin with a byte-order mark, or with a part of one."""


class BodyError(ValueError):
    """The body broke its framing; `found` is what was whole before that."""

    def __init__(self, words: str, found: list[int]) -> None:
        super().__init__(words)
        self.found = found


class Body:
    """What a stream has left unfinished: bytes of a chunk, lines of an event; most have nothing most of the time.

    At its very `first` piece a byte-order mark is none of its text (HTML standard, 9.2.6); later it spoils its line.
    A body without chunks has `length` bytes, or, where that is negative, ends with its connection (RFC 9112, 6.3).
    """

    __slots__ = ("_decoder", "_left", "_rest", "chunked")

    def __init__(self, *, chunked: bool, length: int = -1, first: bool = True) -> None:
        self.chunked = chunked
        self._left = length
        self._rest = b""
        self._decoder = Decoder()
        if not first:
            list(self._decoder.feed(b"\n"))

    @property
    def ends_with_connection(self) -> bool:
        """Whether it may go on for as long as its connection does."""
        return not self.chunked and self._left < 0

    def feed(self, data: bytes) -> tuple[list[int], bool]:
        """Return what `data` completes, and whether nothing is left unfinished; raises BodyError."""
        found: list[int] = []
        if not self.chunked:
            return found, self._feed_plain(data, found)
        raw = self._rest + data if self._rest else data
        at, finished = 0, True
        try:
            while at < len(raw) and (chunk := chunk_at(raw, at)) is not None:
                start, end, at = chunk
                if start == end:
                    found.append(END)
                    break
                finished = self._decode(raw[start:end], found)
        except ChunkError as error:
            raise BodyError(str(error), found) from None
        self._rest = raw[at:]
        return found, finished and not self._rest

    def _feed_plain(self, data: bytes, found: list[int]) -> bool:
        if self._left < 0:
            self._decode(data, found)
            return False
        data = data[: self._left]
        self._left -= len(data)
        self._decode(data, found)
        if not self._left:
            found.append(END)
        return not self._left

    def _decode(self, text: bytes, found: list[int]) -> bool:
        """Add what `text` completes to `found`; return whether it ended with an empty line."""
        try:
            for item in self._decoder.feed(text):
                match item:
                    case Event(data=data):
                        found.append(_version(data))
                    case Comment():
                        found.append(HEARTBEAT)
                    case Retry(milliseconds=milliseconds):
                        found.append(RETRY - milliseconds)
        except StreamLimitError as error:
            raise BodyError(str(error), found) from None
        return text.endswith((b"\n\n", b"\r\n\r\n"))


BEGINS: Final = Body(chunked=True)
"""Stands for a chunked body of which nothing has come; all such streams share it."""


class Meanings:
    """What whole pieces of chunked bodies mean: one number, or several; shared by all streams of a process."""

    def __init__(self) -> None:
        self.known: dict[bytes, int | list[int]] = {}

    def read(self, data: bytes, *, first: bool = False) -> tuple[int | list[int], Body | None]:
        """Return what a piece means that begins where nothing is unfinished, and what it leaves unfinished.

        What is known of a piece holds for the `first` of a stream, too.
        """
        body = Body(chunked=True, first=first)
        found, finished = body.feed(data)
        if not finished:
            return found, body
        meaning = found[0] if len(found) == 1 else found
        if len(self.known) >= _KNOWN_PIECES:
            self.known.clear()  # versions do not come again: what is known grows old at once
        if _MARKED not in data:  # it would mean something else elsewhere
            self.known[data] = meaning
        return meaning, None


def _version(data: str) -> int:
    try:
        return event_version(data)
    except ValueError:
        return INVALID
