"""Where connections come in, and where they come back to HTTP after a stream.

Plain TCP runs on the process's own poller, TLS on the transports of the event loop, which know how to encrypt.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from stream_server.acceptor import Acceptor
from stream_server.borrowed import borrowed
from stream_server.descriptor_stream import Resting
from stream_server.poller import Poller
from stream_server.transport import Outbox, Transport

__all__ = ["Front"]

HANDSHAKE: Final = 10.0
"""Seconds that a TLS handshake may take."""

ROOM: Final = 64
"""Idle connections closed at a time when descriptors run out."""


class Front:
    """The connections of one process.

    `new_protocol` makes what speaks HTTP on one of them, `idle` tells on which of these nothing is asked.
    """

    def __init__(
        self,
        new_protocol: Callable[[], asyncio.Protocol],
        idle: Callable[[], Iterable[asyncio.Transport]],
        *,
        encryption: ssl.SSLContext | None,
        ceiling: int,
        accept_pace: float,
        peer_timeout: float,
    ) -> None:
        self._new_protocol = new_protocol
        self._idle = idle
        self._encryption = encryption
        self._ceiling = ceiling
        self._accept_pace = accept_pace
        self._peer_timeout = peer_timeout
        self._loop = asyncio.get_running_loop()
        self._acceptors: list[Acceptor] = []
        self._handshakes: set[asyncio.Task[Any]] = set()
        self.poller = Poller()
        self.outbox = Outbox(self._loop)
        self.local: Any = None
        self.resting: dict[Resting, None] = {}

    @property
    def handshakes(self) -> int:
        """TLS handshakes that have not ended."""
        return len(self._handshakes)

    def open(self, listeners: Sequence[socket.socket]) -> None:
        """Accept from `listeners` from now on."""
        self.poller.start(self._loop)
        for listener in listeners:
            listener.settimeout(0)
            # Accepted sockets inherit it (tcp(7)): an event is one small packet that must not wait for the next.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _find_dead_peers(listener, self._peer_timeout)
            self.local = listener.getsockname()[:2]
            take = self._take if self._encryption is None else self._take_encrypted
            acceptor = Acceptor(
                listener, take, ceiling=self._ceiling, pace=self._accept_pace, make_room=self._make_room
            )
            acceptor.start(self._loop)
            self._acceptors.append(acceptor)

    def hurry(self) -> None:
        """Accept who waits, whatever the pace."""
        for acceptor in self._acceptors:
            acceptor.hurry()

    def stop_accepting(self) -> None:
        """Leave the listening sockets alone; they stay open."""
        for acceptor in self._acceptors:
            acceptor.stop()

    def close(self) -> None:
        """Close every connection that is left and stop."""
        self.poller.close_all()
        self.poller.stop(self._loop)

    def give_back(self, fd: int, held: bytes) -> None:
        """Let HTTP have a connection again after its stream; `held` came behind the stream's request."""
        peer = None
        with suppress(OSError), borrowed(fd) as connection:  # it has gone meanwhile, which the transport will find
            peer = connection.getpeername()[:2]
        Transport(fd, self, peer).start_again(self._new_protocol(), held)

    def _make_room(self) -> bool:
        """Close connections on which nothing is asked: first those that have waited longest after their stream."""
        oldest = list(itertools.islice(self.resting, ROOM))
        for connection in oldest:
            connection.abort()
        others = list(itertools.islice(self._idle(), ROOM - len(oldest)))
        for transport in others:
            transport.close()
        return bool(oldest or others)

    def _take(self, connection: socket.socket, peer: Any) -> None:
        Transport(connection.detach(), self, peer[:2]).start(self._new_protocol())

    def _take_encrypted(self, connection: socket.socket, _: Any) -> None:
        task = self._loop.create_task(self._shake_hands(connection), name="TLS handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._new_protocol, connection, ssl=self._encryption, ssl_handshake_timeout=HANDSHAKE
            )
        except (OSError, ssl.SSLError):
            connection.close()  # no client of ours, or one that does not trust us


def _find_dead_peers(listener: socket.socket, seconds: float) -> None:
    """Let the kernel end connections that acknowledge nothing for `seconds`; accepted sockets inherit this (tcp(7)).

    Heartbeats are what a vanished client does not acknowledge. Keep-alive probes would find it no sooner, and a million
    connections' probes filled the kernel's queues until live ones were lost.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # not outside Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))
