"""Scripts that use a client in a process of their own: what forks and exits leave must not be left in the tests'."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.sdk_client.scripted import KEY
from tests.sdk_client.scripted_thread import ServerThread

ROOT = Path(__file__).parents[2]

# From 3.12 on, forking with threads warns that the child may deadlock; that it does not is what is tested.
INTERPRETER = [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"]

BEGIN = f"""
import os, sys, threading, time
from sdk_client.sync import SyncFlagClient
client = SyncFlagClient(environment_key={KEY!r}, api_url=sys.argv[1])

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            say("it did not come to be")
            os._exit(1)
        time.sleep(0.005)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def hear():
    os.read(0, 1)

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def begin():
    client.start()
    client.wait_until_ready(20)
    until(lambda: client.is_current)

def end(child):
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Program:
    """A script that says lines, and waits for a word; every warning is an error, and anything on stderr a failure."""

    def __init__(self, server: ServerThread, code: str, before: str = "") -> None:
        self.process = subprocess.Popen(
            [*INTERPRETER, "-c", before + BEGIN + code, server.server.url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None or self.process.poll() is None:
            with suppress(ProcessLookupError):  # with its children: one that hangs would keep the pipes open
                os.killpg(self.process.pid, signal.SIGKILL)
        if error is not None:
            print(*self.process.communicate(timeout=60), sep="\n")  # noqa: T201 - pytest shows it

    def hear(self) -> str:
        """Return the next line that it says, empty at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        """Let one `hear` of the script return."""
        assert self.process.stdin is not None
        self.process.stdin.write(".")
        self.process.stdin.flush()

    def complaints(self) -> str:
        """Return what it wrote to stderr, once it and all its children have ended."""
        return self.process.communicate(timeout=30)[1]

    def end(self) -> None:
        """Wait until it has ended well."""
        complaints = self.complaints()
        assert not complaints, complaints
        assert self.process.returncode == 0
