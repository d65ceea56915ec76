"""uvicorn, stopped our way: a signal starts a drain, and the listening socket closes when its queue is empty.

uvicorn by itself closes the listening socket first, which resets what waits in its queue, and raises the signal again
at the end; a reset costs some published SDKs their stream for good.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from flagstream.logs import get_logger
from stream_server.connection import Connection
from stream_server.drain import Drain
from stream_server.hub import Hub
from stream_server.listening import waiting

__all__ = ["Server"]

log = get_logger(__name__)

LOOK: Final = 0.02
"""Seconds between two looks at whether the stop can go on."""

NEWCOMERS: Final = 0.2
"""Seconds at the end for what waits in the queue to be accepted, and for who was accepted to send a request."""

LAST_ANSWERS: Final = 0.4
"""Seconds at the end for answers under way."""

LAST_BYTES: Final = 0.2
"""Seconds at the end for the buffers of clients that read slowly."""


class Server(uvicorn.Server):
    """Serves `app` on `sockets` until a signal, then drains; `edge` forbids clean ends that were not announced."""

    def __init__(self, app: ASGIApp, *, hub: Hub, drain: Drain, edge: bool, lifeline: int | None = None) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._hub = hub
        self._drain = drain
        self._edge = edge
        self._lifeline = lifeline

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain; a second signal ends it at once."""
        del sig, frame
        self.stop()

    def stop(self) -> None:
        """Start the drain, or end it."""
        self._drain.begin()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and to watch the pipe that ends with the supervisor."""
        await super().startup(sockets)
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._supervisor_gone)

    def _supervisor_gone(self) -> None:
        if self._lifeline is not None:
            asyncio.get_running_loop().remove_reader(self._lifeline)
        self.stop()
        self.stop()  # at once: whoever is started next needs the address

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the drain, end what is left, close."""
        log.info("draining", streams=self._hub.open, seconds=self._drain.remaining())
        while self.server_state.tasks and not self._drain.over:
            await self.on_tick(0)  # keeps the Date header right
            await asyncio.sleep(LOOK)
        await self._close_listeners(sockets or [])
        await self._wait(self._all_have_asked, NEWCOMERS)
        # Behind an edge, a clean end that comes too early would be replayed to everyone who comes: cut instead.
        await self._hub.end_all(clean=not self._edge)
        await self._wait_for_ends()
        await self._wait(self._all_answered, LAST_ANSWERS)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait(self._all_gone, LAST_BYTES)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)

    async def _close_listeners(self, sockets: list[socket.socket]) -> None:
        await self._wait(lambda: not any(waiting(listener) for listener in sockets), NEWCOMERS)
        for server in self.servers:
            server.close()
        for listener in sockets:
            listener.close()

    async def _wait_for_ends(self) -> None:
        """Wait until the streams have ended, as long as some do: tens of thousands take seconds."""
        seen, since = self._hub.open, time.monotonic()
        while self._hub.open and time.monotonic() - since < LAST_ANSWERS:
            await asyncio.sleep(LOOK)
            if self._hub.open != seen:
                seen, since = self._hub.open, time.monotonic()

    def _all_have_asked(self) -> bool:
        """Tell whether every connection has sent a request: the last accepted ones need a moment for it."""
        return all(getattr(connection, "cycle", self) is not None for connection in self.server_state.connections)

    def _all_answered(self) -> bool:
        return not self.server_state.tasks

    def _all_gone(self) -> bool:
        return not self.server_state.connections

    @staticmethod
    async def _wait(condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn tells no event
            await asyncio.sleep(LOOK)
