"""SIGHUP: the settings are read again, and the workers replaced one after the other, on the same listening sockets.

A successor is started beside its predecessor and accepts only when it has read all newest versions. Then the
predecessor stops to accept and ends with its last stream. No socket is closed, so no connection is reset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from flagstream.logs import configure, get_logger
from flagstream.settings import SettingsError
from stream_server.crew import Crew, Seat
from stream_server.settings import StreamServerSettings
from stream_server.worker_process import WorkerProcess

__all__ = ["Reload"]

log = get_logger(__name__)

READY_WITHIN: Final = 30.0
"""Seconds that a successor has to read the newest versions: without the broker it cannot, and what is there stays."""

FIXED: Final = ("host", "port", "workers", "supervised", "max_environments", "waiting_room")
"""Settings of the sockets, the supervisor, the table that old and new workers share, and what they are at all."""


class Reload:
    """Replaces the workers of `seats`; `settings` are what workers are started with, `read` reads them again."""

    def __init__(
        self,
        settings: StreamServerSettings,
        read: Callable[[], StreamServerSettings],
        crew: Crew,
        seats: list[Seat],
        ready_within: float,
    ) -> None:
        self.settings = settings
        self._read = read
        self._crew = crew
        self._seats = seats
        self._ready_within = ready_within
        self._wanted = asyncio.Event()

    def ask(self) -> None:
        """Ask for a reload, or to look whether the crew stops; any number of calls during one reload are one more."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload when asked, until the crew stops."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._crew.stopping.is_set():
                return
            await self._reload()

    async def _reload(self) -> None:
        try:
            settings = self._read()
        except SettingsError as error:
            faults = error.faults
        else:
            faults = list(self._refused(settings))
        if faults:
            log.error("not reloaded: the settings cannot be used, the old ones stay", faults=faults)
            return
        before, self.settings = self.settings, settings
        configure(program="stream_server", log_format=settings.log_format, level=settings.log_level)
        log.info("reloading", workers=len(self._seats))
        for done, seat in enumerate(self._seats):
            reason = await self._replace(seat)
            if self._crew.stopping.is_set():
                return
            if reason:
                self.settings = before
                log.error("not reloaded: the other workers stay as they are", reason=reason, replaced=done)
                return
        log.info("reloaded", workers=len(self._seats))

    def _refused(self, settings: StreamServerSettings) -> Iterator[str]:
        for name in FIXED:
            old, new = getattr(self.settings, name), getattr(settings, name)
            if old != new:
                yield f"{name} = {new!r}: stays {old!r} until the program is started again"

    async def _replace(self, seat: Seat) -> str:
        """Replace the worker of `seat`; return why that did not succeed, empty if it did."""
        async with seat.lock:
            await self._crew.has_room()
            old = seat.worker
            if old is None or self._crew.stopping.is_set():
                return ""  # it died: whoever is started for it has the new settings
            try:
                successor = await self._crew.start(seat, self.settings, replaces=True)
            except OSError as error:
                return f"a worker could not be started: {error.strerror or error}"
            if reason := await self._wait_for(successor):
                successor.kill()  # it has accepted nothing
                return reason
            seat.worker = successor
            await old.replaced()
            return ""

    async def _wait_for(self, successor: WorkerProcess) -> str:
        """Return why `successor` does not become ready, empty if it is."""
        try:
            async with asyncio.timeout(self._ready_within):
                # One that died right after its word is nobody's worker any more.
                return "" if await successor.ready() and successor.running else "a new worker died at its start"
        except TimeoutError:
            return f"a new worker did not read the newest versions within {self._ready_within:g} s; is NATS away?"
