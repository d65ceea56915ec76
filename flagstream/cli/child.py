"""A process that `flagstream up` starts, watches and stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from flagstream.endings import die_with_parent
from flagstream.logs import get_logger

__all__ = ["Child", "ChildFailedError"]

log = get_logger(__name__)

STEADY = 10.0
"""Seconds after which a child that runs is taken to be well, and its next restart is at once again."""

LONGEST_PAUSE = 5.0
KNOWN_DEATHS = 1000
"""As many are remembered: who runs for months may die without end."""


class ChildFailedError(Exception):
    """A child ended before it was ready; `name` and `status` say which and how."""

    def __init__(self, name: str, status: int, log: Path | None = None) -> None:
        self.name = name
        self.status = status
        self.log = log
        place = "above" if log is None else f"in {log}"
        super().__init__(f"{name} ended with status {status} before it was ready; its own message is {place}")


class Child:
    """One program: started in a process group of its own, so that one Ctrl-C is one signal, sent by us, in order.

    What it says goes to our stderr, or to the file `log`. `stops` are the signals that end it: a drain that would be
    too long takes a second one. `orphaned` is the one that it gets when we are gone.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        log: Path | None = None,
        stops: tuple[signal.Signals, ...] = (signal.SIGTERM,),
        orphaned: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.command = command
        self._env = env
        self._log = log
        self._stops = stops
        self._orphaned = orphaned
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._away: float | None = None
        self.deaths: deque[tuple[float, int]] = deque(maxlen=KNOWN_DEATHS)
        """When (of the monotonic clock) it ended although nobody had ended it, and with which status."""

    @property
    def pids(self) -> list[int]:
        """The process and its descendants: workers serve, their supervisor comes first."""
        if self._process is None or self._process.returncode is not None:
            return []
        return _tree(self._process.pid)

    async def start(self) -> None:
        """Start it."""
        with contextlib.ExitStack() as files:
            said = None if self._log is None else files.enter_context(self._log.open("ab"))
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, self._orphaned),
            )

    def check(self) -> None:
        """Raise `ChildFailedError` if it has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise ChildFailedError(self.name, self._process.returncode, self._log)

    async def keep_running(self, restarted: asyncio.Event) -> None:
        """Start it again whenever it dies, at once the first time and ever more slowly while it keeps dying."""
        pause = 0.0
        while self._process is not None:
            began = time.monotonic()
            status = await self._process.wait()
            if self._is_stopping():
                return
            if self._away is None:
                self.deaths.append((time.monotonic(), status))
                pause = 0.0 if time.monotonic() - began > STEADY else min(max(pause * 2, 0.1), LONGEST_PAUSE)
                log.warning("program died and is started again", name=self.name, status=status, after_seconds=pause)
                await asyncio.sleep(pause)
            else:
                pause, away, self._away = 0.0, self._away, None
                log.info("program was ended and is started again", name=self.name, after_seconds=away)
                await asyncio.sleep(away)
            if self._is_stopping():
                return
            await self.start()
            restarted.set()

    def stay_away(self, seconds: float) -> None:
        """Its next end will be meant: it is started again so many seconds after it, however often it has died."""
        self._away = seconds

    def _is_stopping(self) -> bool:
        return self._stopping  # it may have begun during any await

    async def stop(self, within: float) -> None:
        """Ask it to end; after `within` seconds end it the hard way."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        for sig in self._stops:
            process.send_signal(sig)
        try:
            async with asyncio.timeout(within):
                await process.wait()
        except TimeoutError:
            log.warning("program did not stop in time and is killed", name=self.name, seconds=within)
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """End it and its descendants at once."""
        self._stopping = True
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tree(pid: int) -> list[int]:
    """Return `pid` and its descendants, parents first (proc(5), `children`)."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found.extend(int(child) for child in children)
    return found
