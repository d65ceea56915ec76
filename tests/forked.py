"""Our programs without the price of their start: a process that has everything imported forks for each of them.

``python -m tests.forked`` is that process; each process of the tests has its own. It is for tests that need a program
but whose subject it is not: that one starts at all, and what its start loads, others hold by starting it.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
IMPORTED = ("flagstream.__main__", "flagstream.cli", "publisher.main", "stream_server.main", "stream_server.workers")
TURN = 0.02
"""Seconds that one thread waits for a word, with the others behind it."""


class Forked:
    """One of the programs: as much of `subprocess.Popen` as tests use of it."""

    def __init__(
        self, arguments: list[str], *, log: Path, env: dict[str, str] | None, errors: Path | None = None
    ) -> None:
        self._forker = forker()
        asked = {
            "arguments": arguments,
            "log": str(log),
            "errors": str(errors or log),
            "cwd": str(Path.cwd()),
            "env": env or dict(os.environ),
        }
        self.pid = self._forker.start(asked)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        if self.returncode is None:
            self.returncode = self._forker.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status; raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self._forker.listen(TURN)
        return status

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it the hard way."""
        self.send_signal(signal.SIGKILL)


class Forker:
    """The process that forks, as seen by the tests' process; any of its threads may ask."""

    def __init__(self, env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.forked"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=ROOT, env=env
        )
        self._lock = threading.RLock()
        self._rest = b""
        self._started: list[int] = []
        self._ended: dict[int, int] = {}

    def start(self, asked: dict[str, Any]) -> int:
        """Let a program begin, and return its process id."""
        assert self._process.stdin is not None
        with self._lock:
            left = json.dumps(asked).encode() + b"\n"
            while left:
                left = left[self._process.stdin.write(left) :]
            while not self._started:
                self.listen(None)
            return self._started.pop()

    def status(self, pid: int) -> int | None:
        """Return the exit status of a program, once; None if it has not ended."""
        self.listen(0)
        return self._ended.pop(pid, None)

    def listen(self, seconds: float | None) -> None:
        """Take what is said within some seconds, or the next word."""
        assert self._process.stdout is not None
        with self._lock:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                return
            said = self._process.stdout.read(65536)
            assert said, "the process that forks has ended"
            *lines, self._rest = (self._rest + said).split(b"\n")
            for line in lines:
                kind, pid, status = line.split()
                if kind == b"started":
                    self._started.append(int(pid))
                else:
                    self._ended[int(pid)] = int(status)

    def close(self) -> None:
        """Let it end; programs that still run go on."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(60)


@functools.cache
def forker() -> Forker:
    """Return the one of this process."""
    from tests.programs import environment, unmeasured  # noqa: PLC0415 - which import this

    made = Forker(unmeasured(environment()))
    atexit.register(made.close)
    return made


def main() -> None:
    """Fork until the end of the input; in a child, be the program."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # the collector would write to every page that a child shares
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C means the tests
    signal.set_wakeup_fd(wakes)
    rest = b""
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
        _say_who_ended()
        if 0 not in ready:
            continue
        if not (data := os.read(0, 65536)):
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if child := os.fork():
                _say(f"started {child} 0")
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, interrupted)
            os.close(woken)
            os.close(wakes)
            _become(json.loads(line))()
            return


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _say_who_ended() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _become(asked: dict[str, Any]) -> Callable[[], object]:
    """Make this process that of the program, which the value runs."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log, errors = (os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for name in ("log", "errors"))
    for place, descriptor in enumerate((nothing, log, errors)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["flagstream", *asked["arguments"]]
    run: Callable[[], object] = importlib.import_module("flagstream.__main__").main
    return run


if __name__ == "__main__":
    main()
