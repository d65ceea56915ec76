"""uvicorn's HTTP/1.1 protocol with bounds: what one client sends, or fails to send, costs the others nothing.

uvicorn sets no limit to a request's head, waits for ever for the rest of a request, and forgets the request that it is
answering when a second one is pipelined behind it. Here a connection has one timer at the most, none while it is
answered, and one request at a time. Nothing that a client sends is worth a line in the log.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

__all__ = ["HttpProtocol"]

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a request line and its headers, or of a body's trailers."""

IGNORED_LIMIT: Final = 1024 * 1024
"""Bytes that are read and dropped behind the last request of a connection before it is cut."""

ADVICE: Final = {
    HTTPStatus.BAD_REQUEST: "this is not an HTTP/1.1 request",
    HTTPStatus.REQUEST_TIMEOUT: "the request did not arrive whole in time; send it again",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the request line and headers must be at most {HEAD_LIMIT} bytes",
}

LINGER: Final = 1.0
"""Seconds in which a refused client can read why; closing at once would reset the connection under the answer."""


class RefusedError(Exception):
    """Raised in the parser's callbacks, which is the only way to stop it: the rest of the data is not parsed."""

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(status.phrase)
        self.status = status


class HttpProtocol(HttpToolsProtocol):
    """One accepted connection.

    A request that is pipelined behind an unanswered one is not served, and the connection closes after the answer,
    which says so where its head is not yet out; the client sends again what was not answered (RFC 9112, 9.3.2).
    """

    # Slots: one name more in the instance dictionary and Python would no longer share its keys between connections.
    __slots__ = ("_deaf", "_heading", "_heard", "_unparsed")

    silence: ClassVar[float] = 30.0
    """Seconds from the connection to the first byte."""
    head_time: ClassVar[float] = 10.0
    """Seconds from a request's first byte to the end of its headers."""
    body_pause: ClassVar[float] = 30.0
    """Seconds without a byte of an unfinished body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take the transport and wait for the first byte."""
        super().connection_made(transport)
        self._deaf = False  # what comes from now on is dropped
        self._heading = False  # a head has begun and is not complete
        self._heard = 0.0  # when a body's last bytes came
        self._unparsed = 0  # bytes since the parser last completed something
        self._wait(self.silence)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way; after a reset, too, no timer keeps the connection in memory."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse; refuse what is malformed or too large; watch over what is incomplete."""
        self._unparsed += len(data)
        if self._deaf:
            if self._unparsed > IGNORED_LIMIT:
                self.transport.abort()
            return
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, RefusedError) else HTTPStatus.BAD_REQUEST)
            return
        if self._unparsed > HEAD_LIMIT:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._heading:
            if self.timeout_keep_alive_task is None:
                self._wait(self.head_time)
        elif self._lacks_body():
            self._heard = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._wait(self.body_pause)

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio's; uvicorn's closes always
        """Stay open for the answer to a complete request, which is then the last (RFC 9112, 9.6)."""
        cycle = self._present()
        if self._heading or cycle is None or cycle.response_complete or cycle.disconnected or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """Begin a request, unless the one before is still being answered."""
        cycle = self._present()
        if cycle is not None and not cycle.response_complete:
            raise RefusedError
        self._unset_keepalive_if_required()
        self._heading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        if self._unparsed > HEAD_LIMIT and self._head_size() > HEAD_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._heading = False
        self._unparsed = 0
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UntilClose

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        self._unparsed = 0
        if not self.cycle.response_complete:
            self._unset_keepalive_if_required()
        super().on_message_complete()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # Answered in the present protocol, as RFC 9110, 7.8 allows. The parser stopped behind that request.
            if rest := data[stop.args[0] :]:
                self.parser.feed_data(rest)

    def _should_upgrade(self) -> bool:
        return False

    def _head_size(self) -> int:
        """Return the bytes of the present head; what was read can hold a body, too."""
        return len(self.url) + sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)

    def _lacks_body(self) -> bool:
        """Tell whether the application may be waiting for the rest of a body."""
        cycle = self._present()
        return cycle is not None and cycle.more_body and not cycle.response_started

    def _present(self) -> RequestResponseCycle | None:
        """Return the newest request, None before the first (uvicorn's annotation knows no None)."""
        return self.cycle

    def _wait(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self._waited)

    def _waited(self) -> None:
        """Refuse the request that did not come in time."""
        self.timeout_keep_alive_task = None
        if self._deaf or self.transport.is_closing() or (self._present() is None and not self._heading):
            self.transport.close()
        elif self._heading:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self._lacks_body():
            left = self._heard + self.body_pause - self.loop.time()
            if self.flow.read_paused:
                self._wait(self.body_pause)  # it is the application that does not read
            elif left > 0:
                self._wait(left)
            else:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Say `status` and close; an answer that is under way is finished instead, and nothing gets into it."""
        self._deaf = True
        self._unparsed = 0
        cycle = self._present()
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body:
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
        elif cycle is not None and cycle.more_body and not self._heading:
            self.transport.close()  # the rest of a request that has had its answer
            return
        self._unset_keepalive_if_required()
        reason = json.dumps({"detail": ADVICE[status]}).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(reason)).encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + reason)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(LINGER)


class _UntilClose(RequestResponseCycle):
    """Answers HTTP/1.0, which knows no chunks: a body without a length ends with the connection (RFC 9112, 6.3)."""

    unbounded = False

    async def send(self, message: Any) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            self.unbounded = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if self.unbounded:
                self.chunked_encoding = False
        elif self.unbounded:
            self.expected_content_length = len(message.get("body", b""))  # what uvicorn compares it with
        await super().send(message)
