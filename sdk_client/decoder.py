"""Decoder of event streams, without I/O: HTML standard, section 9.2.6 "Interpreting an event stream".

Bytes go in as they come, in pieces of any size; items come out, the same ones however the bytes were cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sdk_client.errors import StreamLimitError

__all__ = ["Comment", "Decoder", "Event", "Item", "Retry"]

_LINE_END: Final = re.compile(rb"\r\n?|\n")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MAX_RETRY_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Event:
    """One dispatched event; `id` is the last event id of the stream so far."""

    type: str
    data: str
    id: str


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that began with a colon: servers send them so that silence means trouble."""

    text: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The server's wish for the time between two streams, in milliseconds."""

    milliseconds: int


Item = Event | Comment | Retry


class Decoder:
    """Turns the bytes of one stream into items; `max_line` and `max_event` are in bytes.

    An event that the end of the stream cut short is never dispatched, as the standard says. `last_event_id` is what a
    client sends when it opens the stream again: the id as it was at the last empty line.
    """

    __slots__ = (
        "_data",
        "_data_size",
        "_first",
        "_id",
        "_partial",
        "_skip_lf",
        "_type",
        "last_event_id",
        "max_event",
        "max_line",
    )

    def __init__(self, *, max_line: int = 65_536, max_event: int = 262_144) -> None:
        self.max_line = max_line
        self.max_event = max_event
        self._partial = bytearray()
        self._first = True
        self._skip_lf = False
        self._type = ""
        self._data: list[str] = []
        self._data_size = 0
        self._id = ""
        self.last_event_id = ""

    def feed(self, data: bytes) -> Iterator[Item]:
        """Yield the items that `data` completes; exhaust it before the next call.

        Raises StreamLimitError, after the items that came before the line in question; the decoder is then spent.
        """
        start = 0
        if self._skip_lf and data:  # the second half of a CRLF whose CR ended the piece before
            start = 1 if data.startswith(b"\n") else 0
            self._skip_lf = False
        for end in _LINE_END.finditer(data, start):
            self._partial += data[start : end.start()]
            start = end.end()
            self._skip_lf = start == len(data) and end.group() == b"\r"
            item = self._line(self._take_line())
            if item is not None:
                yield item
        self._partial += data[start:]
        self._check_line()

    def _check_line(self) -> None:
        if len(self._partial) > self.max_line:
            raise StreamLimitError("a line", self.max_line)

    def _take_line(self) -> bytes:
        self._check_line()
        line = bytes(self._partial)
        self._partial.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _line(self, line: bytes) -> Item | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        match name:
            case b"":
                return Comment(value.decode(errors="replace"))
            case b"data":
                self._add_data(text, len(value))
            case b"event":
                self._type = text
            case b"id" if "\0" not in text:
                self._id = text
            case b"retry" if text.isascii() and text.isdigit():
                return Retry(int(text[:_MAX_RETRY_DIGITS]))
        return None

    def _add_data(self, text: str, size: int) -> None:
        self._data_size += size + 1
        if self._data_size > self.max_event:
            raise StreamLimitError("an event", self.max_event)
        self._data.append(text)

    def _dispatch(self) -> Event | None:
        event = Event(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self.last_event_id = self._id
        self._type = ""
        self._data = []
        self._data_size = 0
        return event
