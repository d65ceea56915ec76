"""One publisher process: uvicorn with the manners that the project needs at the start and at the end."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from flagstream.logs import get_logger
from flagstream.protocol import TESTED_UVICORN, HttpProtocol, untested_uvicorn
from publisher.app import create_app
from publisher.settings import PublisherSettings

__all__ = ["BACKLOG", "serve"]

log = get_logger(__name__)

BACKLOG = 2048

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients keep one, or they would send into a closing one."""

LONGEST_NOTICE = 2.0
"""Seconds, at the most, in which a stopping process still accepts, so that load balancers see that it is not ready."""


def serve(
    settings: PublisherSettings, listener: socket.socket, *, watch: Callable[[Callable[[], None]], None] | None = None
) -> int:
    """Serve in this process and return its exit status.

    `watch` is called with a function that stops the server, once the loop runs.
    """
    failed = False
    if version := untested_uvicorn():
        log.warning("this uvicorn is not one that was tested", version=version, tested=TESTED_UVICORN)

    def die() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    notice = min(settings.drain / 2, LONGEST_NOTICE)
    app = create_app(settings, on_death=die)
    server = Server(
        uvicorn.Config(
            app,
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            http=HttpProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(settings.drain - notice)),
        )
    )
    server.notice = notice
    server.on_stop = app.state.health.drain
    server.watch = watch
    try:
        server.run(sockets=[listener])
    except SystemExit as stop:  # uvicorn's way of saying that the start failed; it has logged why
        return int(stop.code or 0)
    return 1 if failed else 0


class Server(uvicorn.Server):
    """uvicorn's server with two differences: a signal ends it with status 0, and readiness fails first.

    It accepts for `notice` seconds more: who is told by a refused connection has lost a request.
    """

    on_stop: Callable[[], None]
    notice: float = 0.0
    watch: Callable[[Callable[[], None]], None] | None = None
    _told: float = -math.inf

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take signals for as long as the server runs, and do not raise them again after a clean stop."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        if self.watch is not None:
            self.watch(self.stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def main_loop(self) -> None:
        """Serve until told to stop, and then a little longer; a process that failed ends at once."""
        await super().main_loop()
        end = self._told + self.notice
        while time.monotonic() < end and not self.force_exit:  # noqa: ASYNC110 - a flag of uvicorn, set by a signal
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Begin to stop."""
        self.on_stop()
        if not self.should_exit:
            self._told = time.monotonic()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop at the first signal, stop at once at the second."""
        del sig, frame
        if self.should_exit:
            self.force_exit = True
        self.stop()
