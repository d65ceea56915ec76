"""Decoder of event streams, without I/O: HTML standard, section 9.2.6 "Interpreting an event stream".

Bytes go in as they come, in pieces of any size; items come out, the same ones however the bytes were cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sdk_client.errors import StreamLimitError

__all__ = ["Comment", "Decoder", "Event", "Item", "Retry"]

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
    client sends when it opens the stream again: the id as it was at the last empty line. It outlives the connection, so
    the next stream's decoder begins with it.
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

    def __init__(self, *, max_line: int = 65_536, max_event: int = 262_144, last_event_id: str = "") -> None:
        self.max_line = max_line
        self.max_event = max_event
        self.last_event_id = last_event_id
        self._partial = bytearray()
        self._first = True
        self._skip_lf = False
        self._type = ""
        self._data: list[bytes] = []
        self._data_size = 0
        self._id = last_event_id

    def feed(self, data: bytes) -> Iterator[Item]:
        """Yield the items that `data` completes; exhaust it before the next call.

        Raises StreamLimitError, after the items that came before the line in question; the decoder is then spent.
        """
        if self._skip_lf and data:  # the second half of a CRLF whose CR ended the piece before
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if not data:
            return
        lines = data.splitlines()  # of bytes: at CR, LF and CRLF, and nowhere else
        self._skip_lf = data.endswith(b"\r")
        rest = b"" if data.endswith((b"\n", b"\r")) else lines.pop()
        if lines and (self._partial or self._first):
            lines[0] = self._first_line(lines[0])
        for line in lines:
            if len(line) > self.max_line:
                raise self._line_too_long()
            item = self._line(line) if line else self._dispatch()
            if item is not None:
                yield item
        self._partial += rest
        if len(self._partial) > self.max_line:
            raise self._line_too_long()

    def _line_too_long(self) -> StreamLimitError:
        return StreamLimitError("a line", self.max_line)

    def _first_line(self, end: bytes) -> bytes:
        """Return the first line of a piece, which may have begun in earlier ones."""
        line = bytes(self._partial) + end
        self._partial.clear()
        if len(line) > self.max_line:  # before the mark goes: it counts in a line that came in two pieces, too
            raise self._line_too_long()
        if self._first:
            self._first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _line(self, line: bytes) -> Item | None:
        name, _, value = line.partition(b":")
        if not name:
            return Comment(str(value, "utf-8", "replace"))
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._add_data(value)
        elif name == b"event":
            self._type = str(value, "utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = str(value, "utf-8", "replace")
        elif name == b"retry" and value.isdigit():  # of bytes: ASCII digits only
            return Retry(int(value[:_MAX_RETRY_DIGITS]))
        return None

    def _add_data(self, value: bytes) -> None:
        self._data_size += len(value) + 1
        if self._data_size > self.max_event:
            raise StreamLimitError("an event", self.max_event)
        self._data.append(value)

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        kind = self._type or "message"
        self._type = ""
        if not self._data:
            return None
        event = Event(kind, str(b"\n".join(self._data), "utf-8", "replace"), self._id)
        self._data.clear()
        self._data_size = 0
        return event
