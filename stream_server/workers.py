"""The supervisor of `workers` > 1: binds a listening socket a worker, starts the workers, restarts those that die.

The sockets share one address (SO_REUSEPORT) and belong to the supervisor: what waits in the queue of a worker that
died is not reset, its successor accepts it. Workers live in process groups of their own, so that one Ctrl-C is one
signal, and stop when the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client.multiprocess import mark_process_dead
from pydantic import SecretStr

from flagstream.logs import get_logger
from stream_server.listening import listen, url_of
from stream_server.metrics import MULTIPROCESS_FOLDER
from stream_server.settings import StreamServerSettings
from stream_server.worker import Assignment

__all__ = ["Supervisor", "supervise"]

log = get_logger(__name__)

STEADY: Final = 10.0
"""Seconds after which a worker counts as well, and the next restart is at once again."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0

LAST_WAIT: Final = 10.0
"""Seconds beyond the drain after which a worker that has not stopped is killed; it writes its snapshot until then."""


def supervise(settings: StreamServerSettings) -> None:
    """Run `settings.workers` processes until a signal has been drained; raises SystemExit when it cannot listen."""
    listeners = listen(settings)
    log.info("listening", url=url_of(listeners[0]), workers=settings.workers)
    with tempfile.TemporaryDirectory(prefix="flagstream-") as folder:
        asyncio.run(Supervisor(settings, listeners, Path(folder)).run())


class Supervisor:
    """Keeps one worker on each of `listeners`; `folder` holds the files that they share."""

    def __init__(self, settings: StreamServerSettings, listeners: list[socket.socket], folder: Path) -> None:
        self._settings = settings
        self._listeners = listeners
        self._folder = folder
        self._figures = folder / "metrics"
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start the workers, keep them running, stop them together."""
        self._figures.mkdir()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.stop)
        async with asyncio.TaskGroup() as keepers:
            for index in range(len(self._listeners)):
                keepers.create_task(self._keep(index), name=f"worker {index}")
            keepers.create_task(self._kill_the_late(), name="kill the late")

    def stop(self) -> None:
        """Let the workers drain; a second call stops them at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            # A worker closes its socket only when the queue is empty; a copy here would keep the queue filling.
            for listener in self._listeners:
                listener.close()
        for process in self._processes.values():
            with suppress(ProcessLookupError):  # this one is gone; the others want their signal all the same
                process.terminate()

    async def _keep(self, index: int) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                status: int | str = await self._run_worker(index)
            except OSError as error:
                # Out of memory or descriptors for the moment: one worker is missing, the others go on.
                status = f"not started: {error.strerror or error}"
            if self._is_stopping():
                return
            steady = time.monotonic() - began > STEADY
            pause = 0.0 if steady else min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            log.warning("worker died and is started again", worker=index, status=status, after_seconds=pause)
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def _is_stopping(self) -> bool:
        return self._stopping.is_set()  # it may have begun during any await

    async def _run_worker(self, index: int) -> int:
        """Start a worker, wait for its end and return its status."""
        listener = self._listeners[index].fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stream_server.worker",
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(listener,),
            process_group=0,
            env={**os.environ, MULTIPROCESS_FOLDER: str(self._figures)},
        )
        self._processes[index] = process
        if self._is_stopping():
            with suppress(ProcessLookupError):
                process.terminate()
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write(self._assignment(index, listener))
        status = await process.wait()
        del self._processes[index]
        mark_process_dead(process.pid, str(self._figures))  # type: ignore[no-untyped-call] # untyped package
        return status

    def _assignment(self, index: int, listener: int) -> bytes:
        plain = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in self._settings
        }
        versions = str(self._folder / "versions")
        assignment = Assignment(plain, listener, index, len(self._listeners), versions)
        return msgspec.json.encode(assignment) + b"\n"

    async def _kill_the_late(self) -> None:
        await self._stopping.wait()
        deadline = time.monotonic() + self._settings.drain + LAST_WAIT
        while self._processes and time.monotonic() < deadline:  # noqa: ASYNC110 - bounded, and once a life
            await asyncio.sleep(0.05)
        for process in self._processes.values():
            log.warning("worker did not stop in time and is killed", pid=process.pid)
            with suppress(ProcessLookupError):
                process.kill()
