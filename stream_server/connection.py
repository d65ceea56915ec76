"""The stream server's HTTP protocol: the application can have the connection of a request for a stream.

`hand_off` ends uvicorn's part in a connection without ending the connection. Everything that HTTP kept for it is let
go, in no reference cycle that would wait for the collector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from flagstream.protocol import HttpProtocol
from stream_server.descriptor_stream import KEEP_ALIVE, DescriptorStream
from stream_server.stream import Course
from stream_server.streams import HAND_OFF
from stream_server.transport import Transport
from stream_server.transport_stream import TransportStream

__all__ = ["Connection"]


class Connection(HttpProtocol):
    """One accepted connection; in `scope["extensions"]` the application finds it under `HAND_OFF`."""

    __slots__ = ("_stream",)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take the transport."""
        self._stream: DescriptorStream | TransportStream | None = None
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        extensions: dict[str, Any] = {HAND_OFF: self}
        self.scope["extensions"] = extensions

    def prepare(
        self, course: Course, key: str, on_end: Callable[[], None] | None
    ) -> DescriptorStream | TransportStream:
        """Return a stream that fits this connection; nothing has happened to the connection yet."""
        if isinstance(self.transport, Transport):
            self._stream = DescriptorStream(course, key, on_end)
        else:
            self._stream = TransportStream(course, key, on_end, self._successor)
        return self._stream

    def hand_off(self) -> bool:
        """Give the connection, whose response has begun, to the prepared stream; False when the client has gone."""
        stream, self._stream = self._stream, None
        cycle, transport = self.cycle, self.transport
        if stream is None or cycle.disconnected:
            return False
        cycle.disconnected = True  # uvicorn neither completes this response nor misses its end
        framed = bool(cycle.chunked_encoding)
        keep = cycle.keep_alive and not cycle.more_body  # the rest of a body would be taken for a request
        if isinstance(transport, Transport):
            released = transport.release()
            if released is None:
                return False
            self._forget()
            assert isinstance(stream, DescriptorStream)  # noqa: S101 - as prepared
            stream.begin(released, framed=framed, keep=keep, held=self.held)
        else:
            self._forget()
            assert isinstance(stream, TransportStream)  # noqa: S101 - as prepared
            stream.begin(transport, framed=framed, keep=keep, held=self.held)
        return True

    def _forget(self) -> None:
        """Let go what HTTP kept: the parser and the scope hold this object as it holds them."""
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.parser = None  # type: ignore[assignment] # as in uvicorn's connection_lost
        del self.cycle.transport, self.cycle.on_response
        self.scope = self.cycle = self.transport = self.flow = None  # type: ignore[assignment] # uvicorn's begin so, too

    def _successor(self) -> Connection:
        return _Returned(self.config, self.server_state, self.app_state, self.loop)


class _Returned(Connection):
    """A connection that comes back from a stream: it has shown that it is one of ours."""

    silence = KEEP_ALIVE
