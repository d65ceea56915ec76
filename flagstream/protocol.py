"""uvicorn's HTTP/1.1 protocol with bounds: what one client sends, or fails to send, costs the others nothing.

uvicorn sets no limit to a request's head, waits for ever for the rest of a request, and forgets the request that it is
answering when a second one is pipelined behind it. Here a connection has one timer at the most, none while it is
answered, and one request at a time: the parser is not fed beyond it, and what a client has sent behind it is held
until it is answered. Nothing that a client sends is worth a line in the log.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar, Final

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

__all__ = ["TESTED_UVICORN", "HttpProtocol", "untested_uvicorn"]

TESTED_UVICORN: Final = "0.54"
"""The newest uvicorn that tests/test_uvicorn_contract.py has passed with; a new one may change what is overridden."""

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a request line and its headers, or of a body's trailers; above as many held ones nothing more is read."""

HEAD_END: Final = b"\r\n\r\n"

CHUNKED: Final = -1
"""Stands for the length of a body whose end nobody knows beforehand."""

IGNORED_LIMIT: Final = 1024 * 1024
"""Bytes that are read and dropped behind the last request that a connection serves before it is cut."""

ADVICE: Final = {
    HTTPStatus.BAD_REQUEST: "this is not an HTTP/1.1 request",
    HTTPStatus.REQUEST_TIMEOUT: "the request did not arrive whole in time; send it again",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the request line and headers must be at most {HEAD_LIMIT} bytes",
}

LINGER: Final = 1.0
"""Seconds in which a refused client can read why; closing at once would reset the connection under the answer."""


def untested_uvicorn() -> str | None:
    """Return the version of the installed uvicorn if this project has not been tested with it."""
    tested = uvicorn.__version__.split(".")[:2] == TESTED_UVICORN.split(".")
    return None if tested else uvicorn.__version__


class RefusedError(Exception):
    """Raised in the parser's callbacks, which is the only way to stop it: the rest of the data is not parsed."""

    def __init__(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(status.phrase)
        self.status = status


class HttpProtocol(HttpToolsProtocol):
    """One accepted connection.

    Requests that are pipelined are answered one after the other (RFC 9112, 9.3.2); `held` is what has come behind the
    one that is being answered. Behind a chunked body, whose end is known only when it has been parsed, a request that
    arrives in the same read is not served: the connection closes after the answer, and the client sends again.
    """

    # Slots: one name more in the instance dictionary and Python would no longer share its keys between connections.
    __slots__ = ("_bare", "_deaf", "_ended", "_heading", "_heard", "_left", "_tail", "_unparsed", "held")

    flow: _Flow

    silence: ClassVar[float] = 30.0
    """Seconds from the connection to the first byte."""
    head_time: ClassVar[float] = 10.0
    """Seconds from a request's first byte to the end of its headers."""
    body_pause: ClassVar[float] = 30.0
    """Seconds without a byte of an unfinished body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take the transport and wait for the first byte."""
        super().connection_made(transport)
        self.flow.__class__ = _Flow
        self.held = b""  # requests behind the one that is being answered
        self._bare = False  # the present body does not go through the parser
        self._deaf = False  # what comes from now on is dropped
        self._ended = False  # the client will send nothing more
        self._heading = False  # a head has begun and is not complete
        self._heard = 0.0  # when a body's last bytes came
        self._left = 0  # bytes of the present body that are still to come, or `CHUNKED`
        self._tail = b""  # the last bytes of an incomplete head: its end can be split over two reads
        self._unparsed = 0  # bytes since the parser last completed something
        self._wait(self.silence)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way; after a reset, too, no timer keeps the connection in memory."""
        self.held = b""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Take what the client sends: serve it, hold it, or drop it."""
        if self._deaf:
            self._unparsed += len(data)
            if self._unparsed > IGNORED_LIMIT:
                self.transport.abort()
        elif self.held or self._answering():
            self._hold(data)
        else:
            self._feed(data)

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio's; uvicorn's closes always
        """Stay open for the answers to complete requests, the last of which says so (RFC 9112, 9.6)."""
        self._ended = True
        if not self.held:
            if not self._answering() or self.cycle.disconnected:
                return False
            self.cycle.keep_alive = False
        return self.scheme != "https"  # TLS as asyncio has it knows no half-closed connection

    def idle_since(self) -> float | None:
        """Return when this connection fell idle, by the loop's clock; None while a request comes or is answered."""
        timer, cycle = self.timeout_keep_alive_task, self._present()
        if timer is None or self._heading or self._deaf or self.transport.is_closing():
            return None
        if cycle is None:
            return timer.when() - self.silence
        return timer.when() - self.timeout_keep_alive if cycle.response_complete else None

    def on_message_begin(self) -> None:
        """Begin a request, unless the one before is still being answered: the parser was fed beyond its end."""
        cycle = self._present()
        if cycle is not None and not cycle.response_complete:
            raise RefusedError
        self._unset_keepalive_if_required()
        self._heading = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        if self._unparsed > HEAD_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self._left = self._body_length()
        if self._left and self.parser.should_upgrade():
            # The parser leaves the body to the protocol that is asked for; taken for a request it would be obeyed.
            if self._left == CHUNKED:
                raise RefusedError
            self._bare = True
        self._heading = False
        self._unparsed = 0
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = _UntilClose

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unparsed = 0
        if self._left > 0:
            self._left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        if self._bare and self._left:
            return
        self._bare = False
        self._left = 0
        self._unparsed = 0
        if not self.cycle.response_complete:
            self._unset_keepalive_if_required()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what is held, in a turn of the loop of its own: other connections come in between."""
        super().on_response_complete()
        if self.held and not self.transport.is_closing():
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        data, self.held = self.held, b""
        if self._deaf or self.transport.is_closing():
            return
        self._feed(data)
        if self._ended and not self.held:
            if self._answering():
                self.cycle.keep_alive = False
            else:
                self.transport.close()
        if self.flow.full and len(self.held) <= HEAD_LIMIT:
            self.flow.full = False
            self.flow.resume_reading()

    def _answering(self) -> bool:
        """Tell whether there is a complete request without a complete answer."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete and not self._left

    def _hold(self, data: bytes) -> None:
        """Keep `data` until the present request is answered, unless that is the last one."""
        if not self.cycle.keep_alive:
            self._deaf = True
            self._unparsed = len(data)
            self.held = b""
            return
        self.held += data
        if len(self.held) > HEAD_LIMIT:
            self.flow.full = True
            self.flow.pause_reading()

    def _feed(self, data: bytes) -> None:
        """Parse up to the end of a request; refuse what is malformed or too large; watch over what is incomplete."""
        try:
            while data and self._unparsed <= HEAD_LIMIT:
                piece, data = self._split(data)
                self._unparsed += len(piece)
                data = self._parse(piece) + data
                if data and self._answering():
                    self._hold(data)
                    break
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

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """Split `data` where the present head or body ends, as far as that can be told without parsing."""
        if self._left == CHUNKED:
            end = len(data)
            self._tail = data[-3:]  # the end may be followed by a part of a head
        elif self._left:
            end = self._left
        else:
            end = data.find(HEAD_END) + len(HEAD_END)
            if self._tail and (across := (self._tail + data[:3]).find(HEAD_END)) >= 0:
                end = across + len(HEAD_END) - len(self._tail)
            elif end < len(HEAD_END):
                self._tail = (self._tail + data[-3:])[-3:]
                return data, b""
            self._tail = b""
        return (data, b"") if end >= len(data) else (data[:end], data[end:])

    def _parse(self, data: bytes) -> bytes:
        """Parse `data` and return what the parser has left of it: nothing but behind a request to upgrade."""
        if self._bare:
            self.on_body(data)
            self.on_message_complete()
            return b""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # Answered in the present protocol, as RFC 9110, 7.8 allows.
            return data[stop.args[0] :]
        return b""

    def _body_length(self) -> int:
        """Return the length of the present body, `CHUNKED` if it says none; the parser has checked the headers."""
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding":
                return CHUNKED
        return 0

    def _should_upgrade(self) -> bool:
        return False

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
        self.held = b""
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


class _Flow(FlowControl):
    """Reading stays paused while too much is held, whatever the application does."""

    full = False

    def resume_reading(self) -> None:
        """Read on, unless too much is held."""
        if not self.full:
            super().resume_reading()


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
