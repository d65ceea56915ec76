"""The worker processes of a supervisor, those that serve and those that leave: started, counted, seen to their end.

Each has a region of the shared table of versions to itself, which has one writer, and files of figures of that number.
There are twice as many as workers, because one that is replaced lives on until its last stream has ended. Whoever is
started next in a region goes on with what its predecessor wrote there.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead
from pydantic import SecretStr

from stream_server.metrics import MULTIPROCESS_FOLDER
from stream_server.settings import StreamServerSettings
from stream_server.worker import Assignment
from stream_server.worker_process import WorkerProcess

__all__ = ["Crew", "Seat"]


@dataclass(slots=True, eq=False)
class Seat:
    """A listening socket and the worker that serves it now; whoever starts one for it holds `lock`."""

    index: int
    listener: socket.socket
    worker: WorkerProcess | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    deaths: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """Status of each worker that ended while it was the one that served."""


class Crew:
    """All workers of `seats`; `folder` holds the files that they share, `tasks` what watches them."""

    def __init__(self, seats: list[Seat], folder: Path, tasks: asyncio.TaskGroup) -> None:
        self._seats = seats
        self._versions = folder / "versions"
        self._figures = folder / "metrics"
        self._figures.mkdir()
        self._tasks = tasks
        self._free = set(range(2 * len(seats)))
        self._changed = asyncio.Event()
        self.alive: set[WorkerProcess] = set()
        self.stopping = asyncio.Event()
        """Set when all of them were told to stop."""

    async def start(self, seat: Seat, settings: StreamServerSettings, *, replaces: bool = False) -> WorkerProcess:
        """Start a worker for `seat`; raises `OSError` where the system has no room for it."""
        region = min(self._free)
        self._free.remove(region)
        assignment = Assignment(
            settings=_plain(settings),
            listener=seat.listener.fileno(),
            index=seat.index,
            workers=len(self._seats),
            versions=str(self._versions),
            region=region,
            regions=2 * len(self._seats),
            replaces=replaces,
        )
        try:
            worker = await WorkerProcess.start(assignment, {MULTIPROCESS_FOLDER: str(self._figures)})
        except OSError:
            self._free.add(region)
            raise
        self.alive.add(worker)
        self._tasks.create_task(self._watch(seat, worker), name=f"worker {worker.pid}")
        if self.stopping.is_set():
            worker.stop()
        return worker

    async def has_room(self) -> None:
        """Wait until a successor may be started: one region for each seat that is empty is left alone."""
        while len(self._free) <= sum(seat.worker is None for seat in self._seats) and not self.stopping.is_set():
            self._changed.clear()
            await self._changed.wait()

    def stop(self) -> None:
        """Let all drain; a second call ends them at once."""
        self.stopping.set()
        self._changed.set()
        for worker in self.alive:
            worker.stop()

    async def _watch(self, seat: Seat, worker: WorkerProcess) -> None:
        status = await worker.ended()
        self.alive.remove(worker)
        # What it counted stays; what it had open is gone with it.
        mark_process_dead(worker.region, str(self._figures))  # type: ignore[no-untyped-call] # untyped package
        self._free.add(worker.region)
        if seat.worker is worker:
            seat.worker = None
            seat.deaths.put_nowait(status)
        self._changed.set()


def _plain(settings: StreamServerSettings) -> dict[str, object]:
    return {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in settings}
