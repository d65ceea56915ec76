"""A handed-off stream on a transport of the event loop: TLS, and systems without epoll.

The transport encrypts and buffers; it says when the client does not read, and from then on nothing new is written.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from stream_server.stream import SEND_BUFFER, Course, Stream

__all__ = ["TransportStream"]

WRITE_BUFFER: Final = 4096
"""Bytes buffered in this process for a client that does not read, before it counts as paused; under TLS the event
loop has another 64 KiB of its own beneath."""

HELD_AT_MOST: Final = 64 * 1024
"""Bytes kept of what arrives during the stream, before nothing more is read."""


class TransportStream(Stream, asyncio.Protocol):
    """A stream that is the protocol of its transport from `begin` on; `new_protocol` makes its successor."""

    __slots__ = ("_held", "_keep", "_new_protocol", "_transport")

    def __init__(
        self,
        course: Course,
        key: str,
        on_end: Callable[[], None] | None,
        new_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        super().__init__(course, key, on_end)
        self._new_protocol = new_protocol
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._keep = False

    def begin(self, transport: asyncio.Transport, *, framed: bool, keep: bool, held: bytes) -> None:
        """Take the connection over; `keep` it alive after a clean end, with the `held` bytes of the next request."""
        self._transport = transport
        self._framed = framed
        self._keep = keep
        self._held = held
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        # Left alone, the kernel takes megabytes for a client that does not read.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if transport.is_closing():
            self._cut("client")
        elif transport.get_write_buffer_size() <= WRITE_BUFFER:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Keep what comes for the next request."""
        self._held += data
        if len(self._held) > HELD_AT_MOST and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Go on for a client that only has nothing more to say; TLS as asyncio has it knows no such."""
        if self._transport is None or self._transport.get_extra_info("sslcontext") is not None:
            return False
        self._look()
        return self._transport is not None

    def pause_writing(self) -> None:
        """Send nothing new from now on."""
        self._pause()

    def resume_writing(self) -> None:
        """Send what waits."""
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self._transport = None
        self.leave("client")

    def _send(self, data: bytes) -> bool:
        if self._transport is None or self._transport.is_closing():
            self._cut("client")
        else:
            self._transport.write(data)
        return True

    def _part(self) -> None:
        transport, self._transport = self._transport, None
        assert transport is not None  # noqa: S101 - it has not been lost
        if not self._keep or (self._course.drain.draining and not self._held):
            transport.close()
            return
        successor = self._new_protocol()
        transport.set_protocol(successor)
        transport.set_write_buffer_limits()
        successor.connection_made(transport)
        if self._held:
            transport.pause_reading()  # what waits in the kernel would overtake it
            asyncio.get_running_loop().call_soon(self._feed, successor, transport)
        else:
            transport.resume_reading()

    def _feed(self, successor: asyncio.Protocol, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            transport.resume_reading()
            successor.data_received(self._held)

    def _cut(self, reason: str) -> None:
        transport, self._transport = self._transport, None
        self.leave(reason)
        if transport is not None:
            transport.abort()
