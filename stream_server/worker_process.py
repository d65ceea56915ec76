"""The supervisor's view of one worker process: started, told, waited for."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Self

import msgspec

from flagstream.logs import get_logger
from stream_server.lifeline import LEFT, READY, REPLACED, STOP
from stream_server.worker import Assignment

__all__ = ["WorkerProcess"]

log = get_logger(__name__)

ANSWER: Final = 5.0
"""Seconds that a worker has to say that it accepts no more."""

LAST_WAIT: Final = 10.0
"""Seconds beyond the drain after which a worker that has not stopped is killed; it writes its snapshot until then."""


class WorkerProcess:
    """A worker that was started with `assignment`."""

    def __init__(self, process: asyncio.subprocess.Process, assignment: Assignment) -> None:
        self._process = process
        self.pid = process.pid
        self.region = assignment.region
        self.drain = float(assignment.settings["drain"])
        self.may_accept = not assignment.replaces
        """Whether it may have accepted connections, so that killing it would cost some."""
        self._late: asyncio.TimerHandle | None = None

    @classmethod
    async def start(cls, assignment: Assignment, environment: Mapping[str, str]) -> Self:
        """Start one; raises `OSError` where the system has no room for it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stream_server.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(assignment.listener,),
            process_group=0,
            env={**os.environ, **environment},
        )
        worker = cls(process, assignment)
        worker._tell(msgspec.json.encode(assignment) + b"\n")
        return worker

    @property
    def running(self) -> bool:
        """Whether it is not known to have ended."""
        return self._process.returncode is None

    async def ready(self) -> bool:
        """Wait until it accepts connections; False when it ended before. For one waiter."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        is_ready = await self._process.stdout.readline() == READY
        self.may_accept = self.may_accept or is_ready
        return is_ready

    async def ended(self) -> int:
        """Wait for its end and return its status."""
        status = await self._process.wait()
        if self._late is not None:
            self._late.cancel()
        return status

    async def replaced(self) -> None:
        """Let it stop to accept and end with its last stream: its successor accepts. Waits until it has stopped."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        self._leave(REPLACED)
        with suppress(TimeoutError):  # one that is stuck accepts nothing either, and is killed when its drain is over
            async with asyncio.timeout(ANSWER):
                while await self._process.stdout.readline() not in {LEFT, b""}:
                    continue

    def stop(self) -> None:
        """Let it drain; the second time, end it at once. One that cannot have accepted anything is killed."""
        if self.may_accept:
            self._leave(STOP)
        else:
            self.kill()

    def kill(self) -> None:
        """End it the hard way."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def _leave(self, order: bytes) -> None:
        self._tell(order)
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(self.drain + LAST_WAIT, self._kill_late)

    def _kill_late(self) -> None:
        log.warning("worker did not stop in time and is killed", pid=self.pid)
        self.kill()

    def _tell(self, words: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        if not self._process.stdin.is_closing():
            self._process.stdin.write(words)
