"""uvicorn with a front of our own: a signal starts a drain, and the listening socket closes when its queue is empty.

uvicorn by itself closes the listening socket first, which resets what waits in its queue, and raises the signal again
at the end; a reset costs some published SDKs their stream for good.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from flagstream.logs import get_logger
from stream_server.capacity import Capacity, open_files
from stream_server.connection import Connection
from stream_server.descriptor_stream import KEEP_ALIVE
from stream_server.drain import Drain
from stream_server.front import Front
from stream_server.hub import Hub
from stream_server.lifeline import LEFT, READY, Lifeline
from stream_server.listening import waiting
from stream_server.poller import is_available
from stream_server.settings import StreamServerSettings

__all__ = ["Server"]

log = get_logger(__name__)

LOOK: Final = 0.02
"""Seconds between two looks at whether the stop can go on."""

IDLE: Final = 1.0
"""Seconds without a request after which a connection may be closed where descriptors run out."""

QUIET: Final = 10
"""Looks without a change after which the stop goes on all the same."""


class Server(uvicorn.Server):
    """Serves `app` on `sockets` until a signal, then drains; `lifeline` is a pipe that ends with the supervisor."""

    def __init__(
        self, app: ASGIApp, settings: StreamServerSettings, *, hub: Hub, drain: Drain, lifeline: Lifeline | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # uvicorn would believe whoever connects from this machine
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
            ssl_certfile=settings.tls_certificate or None,
            ssl_keyfile=settings.tls_key or None,
        )
        super().__init__(config)
        self._hub = hub
        self._drain = drain
        self._settings = settings
        self._lifeline = lifeline
        self._front: Front | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain; a second signal ends it at once."""
        del sig, frame
        self.stop()

    def stop(self) -> None:
        """Start the drain, or end it."""
        self._drain.begin()
        self.should_exit = True

    def leave(self) -> None:
        """Stop to accept, for a successor does, and end with the last stream."""
        self._drain.replace()
        self.should_exit = True
        if self._drain.replaced and self._front is not None:
            self._front.stop_accepting()  # at once: from here on every client meets the successor
        if self._lifeline is not None:
            self._lifeline.say(LEFT)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and to watch the pipe that ends with the supervisor."""
        if is_available():
            await super().startup(sockets=[])  # uvicorn starts the application, the front has the sockets
            await self.on_tick(0)  # sets the Date header before the first request
            self._open_front(sockets or [])
        else:
            await super().startup(sockets)
        if self._lifeline is not None:
            self._lifeline.watch(on_stop=self.stop, on_replaced=self.leave, on_gone=self._supervisor_gone)
            self._lifeline.say(READY)

    def _open_front(self, sockets: list[socket.socket]) -> None:
        self._front = Front(
            self._new_connection,
            self._idle,
            encryption=self.config.ssl,
            ceiling=Capacity.within(open_files()).ceiling,
            accept_pace=self._settings.accept_pace,
            peer_timeout=self._settings.peer_timeout,
        )
        self._front.open(sockets)

    def _new_connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state)

    def _idle(self) -> Iterator[asyncio.Transport]:
        """Yield the connections that could be missed: long enough without a request not to be on their way to one."""
        before = asyncio.get_running_loop().time() - IDLE
        for connection in self.server_state.connections:
            since = connection.idle_since() if isinstance(connection, Connection) else None
            if since is not None and since < before:
                yield connection.transport

    def _supervisor_gone(self) -> None:
        self.stop()
        self.stop()  # at once: whoever is started next needs the address

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the drain, end what is left, close."""
        log.info("draining", streams=self._hub.open, seconds=self._drain.remaining())
        # Who keeps its connection would have its next request reset when this process ends (RFC 9112, 9.6).
        self.config.encoded_headers.append((b"connection", b"close"))
        listeners = sockets or []
        if self._drain.replaced:
            self._stop_accepting(listeners)  # who waits in the queue stays there: the supervisor's copy keeps it
            await self._last_stream(lambda: not self._silent())
        else:
            await self._last_stream(lambda: self._drain.noticed)
            if self._front is not None:
                self._front.hurry()
            await _settled(lambda: sum(waiting(listener) for listener in listeners))
            self._stop_accepting(listeners)
            await _settled(self._silent)
            await self._last_stream(lambda: True)  # those that came last have lives of their own
        # Behind an edge, a clean end that comes too early would be replayed to everyone who comes: cut instead.
        await self._hub.end_all(clean=not self._settings.edge)
        await _settled(self._busy)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await _settled(lambda: len(self.server_state.connections))
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self._front is not None:
            self._front.close()
        await super().shutdown(sockets)

    async def _last_stream(self, may_end: Callable[[], bool]) -> None:
        """Wait until nothing is served any more and `may_end`, or the time is up."""
        while not self._drain.over and (self._busy() or not may_end()):
            await self.on_tick(0)  # keeps the Date header right
            await asyncio.sleep(LOOK)

    def _stop_accepting(self, listeners: list[socket.socket]) -> None:
        if self._front is not None:
            self._front.stop_accepting()
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()

    def _busy(self) -> int:
        """Count what is being answered: streams, and requests that are none."""
        return self._hub.open + len(self.server_state.tasks)

    def _silent(self) -> int:
        """Count the connections without a request so far: the last accepted ones need a moment for it."""
        silent = sum(getattr(connection, "cycle", self) is None for connection in self.server_state.connections)
        return silent + (self._front.handshakes if self._front is not None else 0)


async def _settled(count: Callable[[], int]) -> None:
    """Wait until `count` is 0, or has not changed for `QUIET` looks: what still moves is not cut short.

    Looks are counted, not seconds: a process that gets no CPU for a while has not waited.
    """
    before, same = count(), 0
    while before and same < QUIET:
        await asyncio.sleep(LOOK)
        after = count()
        same = same + 1 if after == before else 0
        before = after
