"""The stream server's HTTP protocol: a connection can be cut, and little is buffered for who does not read."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from flagstream.protocol import HttpProtocol
from stream_server.portable import CONNECTION, Beating

__all__ = ["Connection", "find_dead_peers"]

WRITE_BUFFER: Final = 4096
"""Bytes buffered in this process for a client that does not read; then its stream keeps the newest frame only."""

SILENCE: Final = 60
"""Seconds without an acknowledgement after which a peer is taken to be gone."""

PROBE_EVERY: Final = 15

LOOKS: Final = (0.0, 0.25, 1.0, 3.0)
"""Seconds until the next heartbeat to a client that has ended its half of the connection, one after the other."""


class Connection(HttpProtocol):
    """One accepted connection; in `scope["extensions"]` the application finds it under `CONNECTION`."""

    __slots__ = ("stream",)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take the transport."""
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.stream: Beating | None = None
        super().connection_made(transport)

    def eof_received(self) -> bool:  # type: ignore[override] # as its base
        """Find out whether the client has gone or only has nothing more to say: who has gone answers with a reset."""
        stays = super().eof_received()
        if stays:
            self._look(0)
        return stays

    def _look(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if self.stream is not None:
            self.stream.beat()
        if number + 1 < len(LOOKS):
            self.loop.call_later(LOOKS[number + 1], self._look, number + 1)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        extensions: dict[str, Any] = {CONNECTION: self}
        self.scope["extensions"] = extensions

    def cut(self) -> None:
        """Drop the connection without a final chunk, and what it still buffers with it."""
        self.transport.abort()


def find_dead_peers(listener: socket.socket) -> None:
    """Let the kernel end connections whose peer has vanished; accepted sockets inherit this (tcp(7))."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENCE - 3 * PROBE_EVERY),
        ("TCP_KEEPINTVL", PROBE_EVERY),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", SILENCE * 1000),
    ):
        if hasattr(socket, name):  # not all of them outside Linux
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
