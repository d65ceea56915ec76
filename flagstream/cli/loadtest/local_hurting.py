"""What a scenario may do to the parts of a local stack: kill, stop, freeze, deploy."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from flagstream.cli.loadtest.local_parts import Parts
from flagstream.cli.loadtest.local_processes import Processes, frozen
from loadtest.stack import StackError

__all__ = ["Hurting"]

MARGIN: Final = 30.0
"""Seconds beyond the drain that the end of a program and its replacement may take."""


class Hurting:
    """Does it to `parts`, whose stream server drains for `drain` seconds; what dies is started again by the stack."""

    def __init__(self, parts: Parts, drain: float) -> None:
        self._parts = parts
        self._drain = drain

    async def kill(self, part: str, down: float) -> None:
        """End a part by SIGKILL; it is started again `down` seconds later. Returns when it is gone.

        Raises StackError where there is no such part, and for workers with `down`: their supervisor waits for nobody.
        """
        await self._end(part, signal.SIGKILL, down)

    async def stop(self, part: str, down: float) -> None:
        """End a part by SIGTERM; it is started again `down` seconds later. Returns when it is gone.

        Raises StackError as `kill` does, and where a part takes longer than its drain and half a minute.
        """
        await self._end(part, signal.SIGTERM, down)

    async def _end(self, part: str, sig: signal.Signals, down: float) -> None:
        program = self._parts.program(part)
        is_worker = part in {"worker", "workers"}
        if is_worker and down:
            raise StackError(f"{part} cannot be kept down: the supervisor starts it at once; take stream_server")
        pids = self._parts.pids(part)
        with Processes(pids) as processes:
            if not is_worker:
                program.stay_away(down)
            if is_worker or sig == signal.SIGKILL:
                processes.tell(sig)
            else:
                # The first tells the others, each in its way.
                with Processes(pids[:1]) as first:
                    first.tell(sig)
            await self._gone(processes, part, self._drain + MARGIN)

    @staticmethod
    async def _gone(processes: Processes, what: str, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await processes.ended()
        except TimeoutError:
            raise StackError(f"{what} had not ended {within:g} s after it was told to") from None

    async def freeze(self, part: str, seconds: float) -> None:
        """Stop the processes of a part for `seconds` (SIGSTOP, SIGCONT)."""
        self._parts.program(part)
        async with frozen(self._parts.pids(part)):
            await asyncio.sleep(seconds)

    async def deploy(self) -> None:
        """Replace the workers of the stream server in place (SIGHUP); returns when the last old one has ended.

        They go one after the other, each when its successor has loaded, for which half a minute is allowed, and drain
        meanwhile. Raises StackError where one has not ended half a minute after all that.
        """
        supervisor = self._parts.pids("stream_server")[:1]
        with Processes(supervisor) as told, Processes(self._parts.workers()) as old:
            told.tell(signal.SIGHUP)
            loading = MARGIN * len(self._parts.workers())
            await self._gone(old, "a worker that was to be replaced", loading + self._drain + MARGIN)
