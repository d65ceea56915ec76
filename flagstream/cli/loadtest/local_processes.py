"""Processes by their ids, most of them not our own children: told, awaited, frozen (Linux: pidfd, proc(5))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["Processes", "children", "frozen", "living", "started"]

START: Final = 19
"""Place of the moment of the start, in ticks since boot, behind the name in ``/proc/PID/stat``."""


class Processes:
    """Some processes, held by descriptors: an id that another process is given meanwhile does no harm."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._descriptors: list[int] = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._descriptors.append(os.pidfd_open(pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)

    def tell(self, sig: signal.Signals) -> None:
        """Send all of them a signal, in their order; those that have ended miss nothing."""
        for descriptor in self._descriptors:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, sig)

    async def ended(self) -> None:
        """Wait until the last of them has ended."""
        for descriptor in self._descriptors:
            await _readable(descriptor)


async def _readable(descriptor: int) -> None:
    """Wait until a process has ended: then its descriptor is readable (pidfd_open(2))."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)


@contextlib.asynccontextmanager
async def frozen(pids: Iterable[int]) -> AsyncIterator[None]:
    """Stop processes for a while; they go on even if we are killed meanwhile."""
    named = [str(pid) for pid in pids]
    # Its pipe ends with us: a process that nobody lets go on could not be told to end either.
    thaw = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'read -r _; kill -CONT "$@"', "thaw", *named),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert thaw.stdin is not None  # noqa: S101 - it was asked for
    with Processes(map(int, named)) as processes:
        try:
            processes.tell(signal.SIGSTOP)
            yield
        finally:
            processes.tell(signal.SIGCONT)
            thaw.stdin.close()
            await thaw.wait()


def children(pid: int) -> list[int]:
    """Return the living processes that the main thread of a process has started."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return living(map(int, found))


def living(pids: Iterable[int]) -> list[int]:
    """Return those that have not ended; one that has is listed until its parent takes notice."""
    return [pid for pid in pids if _status(pid)[0] not in "ZX"]


def started(pid: int) -> int:
    """Return when a process was started, in clock ticks since boot; 0 if it is gone."""
    return int(_status(pid)[START])


def _status(pid: int) -> list[str]:
    """Return what follows the name in ``/proc/PID/stat``, of one that is gone what a dead one has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", *["0"] * START]
