"""Processes that a benchmark starts: they end with it, whatever happens to it, and are ended by their ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from loadtest.machine import cpu_seconds, tree

__all__ = ["EndedError", "Process", "wait_until"]

Interest = Callable[[], bool]


class EndedError(Exception):
    """A process ended, or did not do in time what was waited for; the message has the end of what it said."""


def wait_until(condition: Interest, what: str, seconds: float = 20.0) -> None:
    """Wait until `condition()` is true; raises `EndedError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise EndedError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.01)


class Process:
    """One program with all that it starts; its standard input is a pipe that ends with the benchmark.

    `passed` are descriptors that it inherits. `talks` makes its standard output a pipe, too; else that goes to `log`,
    where its standard error goes.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        talks: bool = False,
        passed: Sequence[int] = (),
    ) -> None:
        self.log = log
        self.name = Path(command[0]).name
        # The kernel ends it with us, even if we are killed: setpriv(1) sets that and becomes the program.
        wrapper = shutil.which("setpriv")
        prefix = [wrapper, "--pdeathsig", "TERM", "--"] if wrapper else []
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*prefix, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else output,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
                pass_fds=passed,
            )

    @property
    def pid(self) -> int:
        """The id of the program itself."""
        return self._popen.pid

    @property
    def pids(self) -> list[int]:
        """The ids of the program and of its children."""
        return tree(self.pid)

    @property
    def input(self) -> IO[bytes]:
        """Its standard input."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def output(self) -> IO[bytes]:
        """Its standard output."""
        assert self._popen.stdout is not None
        return self._popen.stdout

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def cpu(self) -> float:
        """Return the CPU seconds that it and its children have used."""
        return cpu_seconds(self.pids)

    def said(self) -> str:
        """Return what it wrote to its log."""
        return self.log.read_text(errors="replace")

    def wait(self, condition: Interest, what: str, seconds: float = 20.0) -> None:
        """Wait until `condition()` is true; raises `EndedError` when the program ends instead."""

        def met() -> bool:
            if not self.running:
                raise EndedError(f"{self.name} ended before {what}: {self.said()[-2000:]}")
            return condition()

        wait_until(met, what, seconds)

    def kill(self) -> None:
        """End it and its children at once: nothing that a benchmark starts has anything to save."""
        pids = self.pids if self.running else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a worker that has just gone by itself
                os.kill(pid, signal.SIGKILL)
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
