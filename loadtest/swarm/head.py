"""The head of an answer, and what it says that matters here."""

from __future__ import annotations

from typing import Final

__all__ = ["HEAD_END", "LONGEST_HEAD", "Head", "after_interim"]

LONGEST_HEAD: Final = 65_536
LONGEST_NUMBER: Final = 18
HEAD_END: Final = b"\r\n\r\n"

_OK: Final = 200
_NOT_COMPRESSED: Final = ("", "identity")
_CHUNKED: Final = b"\r\ntransfer-encoding: chunked\r\n"
_STREAM: Final = b"\r\ncontent-type: text/event-stream\r\n"


class Head:
    """What a response's head says: status line and headers, each line with its end.

    `length` is that of the body, -1 where it is not told so; `closes`: no other answer follows on the connection.
    """

    __slots__ = ("_text", "chunked", "closes", "length", "status")

    def __init__(self, text: bytes) -> None:
        self._text = text = text.lower()
        try:
            self.status = int(text[9:12])
        except ValueError:
            self.status = 0
        # As nearly all servers write it, or else as they may: the first is a third of the time.
        self.chunked = _CHUNKED in text or self.text(b"transfer-encoding").endswith("chunked")
        self.closes = not text.startswith(b"http/1.1") or (b"\r\nconnection:" in text and self._says_close)
        self.length = -1 if self.chunked else self._length

    @property
    def is_stream(self) -> bool:
        """Tell whether it begins an event stream, in bytes that were not compressed unasked."""
        plain = b"\r\ncontent-encoding:" not in self._text or self.text(b"content-encoding") in _NOT_COMPRESSED
        return self.status == _OK and plain and (_STREAM in self._text or self._is_event_stream)

    @property
    def _says_close(self) -> bool:
        return "close" in self.text(b"connection")

    @property
    def _length(self) -> int:
        text = self.text(b"content-length")
        # Longer numbers than any body are refused by `int`, and what a server says must not end a generator.
        return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else -1

    @property
    def _is_event_stream(self) -> bool:
        return self.text(b"content-type").partition(";")[0].rstrip() == "text/event-stream"

    @property
    def words(self) -> str:
        """What it is instead of an event stream, in a few words."""
        if not self.status:
            return "an answer that is not HTTP"
        if self.status != _OK:
            return f"status {self.status}"
        if self._is_event_stream:
            return "an event stream that is compressed, which nobody asked for"
        return "an answer that is not an event stream"

    def text(self, name: bytes) -> str:
        """Return a header's value in lower case, by its lower-case name; empty where there is none."""
        start = self._text.find(b"\r\n" + name + b":")
        if start < 0:
            return ""
        start += len(name) + 3
        end = self._text.find(b"\r\n", start)
        return str(self._text[start : end if end >= 0 else None], "latin-1").strip()

    def texts(self, *names: str) -> dict[str, str]:
        """Return the values of headers as the rules of `sdk_client.headers` read them."""
        return {name: self.text(name.encode()) for name in names}


def after_interim(text: bytes | bytearray, end: int) -> bytes | bytearray | None:
    """Return what follows an interim answer, whose head is ``text[:end]``; None if it is the answer itself.

    A server may say 100 or 103 as often as it likes before it answers (RFC 9110, 15.2).
    """
    return text[end + len(HEAD_END) :] if text[8:10] == b" 1" and text[9:12] != b"101" else None
