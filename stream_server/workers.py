"""The supervisor: binds a listening socket a worker, starts the workers, restarts those that die, stops them together.

The sockets share one address (SO_REUSEPORT) and belong to the supervisor: what waits in the queue of a worker that
died or is replaced is not reset, its successor accepts it. Workers live in process groups of their own, so that one
Ctrl-C is one signal, and stop when the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from flagstream.logs import get_logger
from flagstream.temporary import temporary_folder
from stream_server.crew import Crew, Seat
from stream_server.listening import listen, url_of
from stream_server.reload import READY_WITHIN, Reload
from stream_server.settings import StreamServerSettings

__all__ = ["Supervisor", "supervise"]

log = get_logger(__name__)

STEADY: Final = 10.0
"""Seconds after which a worker counts as well, and the next restart is at once again."""

PREFIX: Final = "flagstream-workers-"
"""What the name of the folder begins with in which workers have what they share."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


def supervise(settings: StreamServerSettings, read: Callable[[], StreamServerSettings]) -> None:
    """Run `settings.workers` processes until a signal has been drained; raises SystemExit when it cannot listen.

    SIGHUP has `read` read the settings again and replaces the workers.
    """
    listeners = listen(settings)
    log.info("listening", url=url_of(listeners[0]), workers=settings.workers)
    with temporary_folder(PREFIX) as folder:
        asyncio.run(Supervisor(settings, read, listeners, folder).run())


class Supervisor:
    """Keeps one worker on each of `listeners`; `folder` holds the files that they share."""

    def __init__(
        self,
        settings: StreamServerSettings,
        read: Callable[[], StreamServerSettings],
        listeners: list[socket.socket],
        folder: Path,
        *,
        ready_within: float = READY_WITHIN,
    ) -> None:
        self._settings = settings
        self._read = read
        self._seats = [Seat(index, listener) for index, listener in enumerate(listeners)]
        self._folder = folder
        self._ready_within = ready_within

    async def run(self) -> None:
        """Start the workers, keep them running, stop them together."""
        async with asyncio.TaskGroup() as tasks:
            self.crew = Crew(self._seats, self._folder, tasks)
            self._reload = Reload(self._settings, self._read, self.crew, self._seats, self._ready_within)
            loop = asyncio.get_running_loop()
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(each, self.stop)
            # A terminal that hangs up ends what runs in it.
            at_terminal = sys.stdin is not None and sys.stdin.isatty()
            loop.add_signal_handler(signal.SIGHUP, self.stop if at_terminal else self.reload)
            for seat in self._seats:
                tasks.create_task(self._keep(seat), name=f"seat {seat.index}")
            tasks.create_task(self._reload.run(), name="reload")

    def stop(self) -> None:
        """Let the workers drain; a second call stops them at once."""
        # A worker closes its socket only when the queue is empty; a copy here would keep the queue filling.
        for seat in self._seats:
            seat.listener.close()
        self.crew.stop()
        self._reload.ask()

    def reload(self) -> None:
        """Read the settings again and replace the workers."""
        self._reload.ask()

    async def _keep(self, seat: Seat) -> None:
        """Have a worker on `seat`, started ever more slowly while it keeps dying."""
        stopping = self.crew.stopping
        pause = 0.0
        while True:
            began = time.monotonic()
            status = await self._serve(seat)
            if stopping.is_set():
                return
            steady = time.monotonic() - began > STEADY
            pause = 0.0 if steady else min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            log.warning("worker died and is started again", worker=seat.index, status=status, after_seconds=pause)
            try:
                async with asyncio.timeout(pause):
                    await stopping.wait()
            except TimeoutError:
                continue
            return

    async def _serve(self, seat: Seat) -> int | str:
        """Have `seat` served, by one worker after the other, until one dies; return how."""
        async with seat.lock:
            if self.crew.stopping.is_set():
                return "stopped"
            if seat.worker is None:  # else it died while it was being replaced
                try:
                    seat.worker = await self.crew.start(seat, self._reload.settings)
                except OSError as error:
                    # Out of memory or descriptors for the moment: one worker is missing, the others go on.
                    return f"not started: {error.strerror or error}"
        return await seat.deaths.get()
