"""Real servers for tests: each on a port of its own, in a folder of its own, stopped by its own process id."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.forked import Forked

POSTGRES_BIN = Path("/usr/lib/postgresql")
IN_CI = os.environ.get("CI") == "true"

# Below the range that the kernel takes ports of outgoing connections from: one of those may take a port before its
# server has started, or while it is down; and a client that keeps trying it then can end up connected to itself.
FREE_PORTS = range(10_240, 32_768)


def missing(what: str, package: str) -> None:
    """Skip with the reason on a laptop; fail where CI promised the server."""
    reason = f"{what} is not installed (Debian package {package}); scripts/test installs it where it can"
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing uses and no test has been given, of this process or of another."""
    for port in (random.choice(FREE_PORTS) for _ in FREE_PORTS):
        if port not in _given and _claimed(port) and _bindable(port):
            _given.add(port)
            return port
    raise AssertionError("no port of 127.0.0.1 is free")


_given: set[int] = set()


def _claimed(port: int) -> bool:
    """Take the lock that stands for `port`; the kernel gives it back when this process ends."""
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@functools.cache
def _claims() -> int:
    """Open the file of which each byte is a port."""
    path = Path(tempfile.gettempdir()) / f"flagstream-test-ports-{os.geteuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.01)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A server process that can be stopped, killed and started again."""

    def __init__(self, command: Sequence[str], *, log: Path, env: dict[str, str] | None = None) -> None:
        self.command = list(command)
        self.log = log
        self.env = env
        self.popen: subprocess.Popen[bytes] | Forked | None = None

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(self.command, stdout=log, stderr=log, env=self.env, start_new_session=True)
        return self

    def stop(self, sig: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send `sig`, wait for the end and return the exit status."""
        assert self.popen is not None
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            pytest.fail(f"{self.command[0]} did not stop within {seconds:g} s of signal {sig}")

    def kill(self) -> None:
        """End it the hard way: kill -9."""
        self.stop(signal.SIGKILL)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class ForkedProcess(Process):
    """One of our own programs, forked; `command` are its arguments."""

    def start(self) -> Self:
        self.popen = Forked(self.command, log=self.log, env=self.env)
        return self


class NatsServer:
    """nats-server with JetStream. The port stays the same over restarts; the disk stays unless it is wiped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "jetstream"
        self.port = free_port()
        binary = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if binary is None:
            missing("nats-server", "nats-server")
        command = [str(binary), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.store)]
        self.process = Process(command, log=folder / "nats.log")

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> Self:
        before = self.process.output().count("Server is ready")
        self.process.start()
        wait_until(lambda: self.process.output().count("Server is ready") > before, "nats-server's start")
        return self

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Lose the disk; only while it is stopped."""
        assert not self.process.running
        shutil.rmtree(self.store, ignore_errors=True)


class RedisServer:
    """redis-server without persistence."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            missing("redis-server", "redis-server")
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.process = Process(command, log=folder / "redis.log")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> Self:
        self.process.start()
        wait_until(lambda: answers(self.port), "redis-server's start")
        return self

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class PostgresServer:
    """PostgreSQL on a cluster of its own; `create_database` gives each test an empty database."""

    def __init__(self) -> None:
        versions = sorted(POSTGRES_BIN.glob("*/bin/postgres"))
        if not versions:
            missing("PostgreSQL", "postgresql")
        self.bin = versions[-1].parent
        # PostgreSQL refuses to run as root, and its user must be able to reach the folder.
        self.folder = Path(tempfile.mkdtemp(prefix="flagstream-postgres-"))
        self.as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        self.port = free_port()
        self.process = Process(
            [
                *self.as_user,
                *(str(self.bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)),
                *("-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "max_connections=200"),
            ],
            log=self.folder.with_suffix(".log"),
        )

    def start(self) -> Self:
        subprocess.run(
            [
                *self.as_user,
                *(str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", "flagstream", "-A", "trust"),
                *("--no-sync", "-E", "UTF8", "--locale=C.UTF-8"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )
        self.process.start()
        wait_until(lambda: self._psql("select 1").returncode == 0, "PostgreSQL's start")
        return self

    def _psql(self, statement: str) -> subprocess.CompletedProcess[bytes]:
        command = [
            str(self.bin / "psql"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "flagstream",
            "-qc",
            statement,
        ]
        return subprocess.run([*command, "postgres"], check=False, capture_output=True)

    def create_database(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        done = self._psql(f"create database {name}")
        assert done.returncode == 0, done.stderr
        return f"postgresql://flagstream@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        self.process.stop(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.process.log.unlink(missing_ok=True)


def json_lines(text: str) -> list[dict[str, object]]:
    """Return the log lines that are JSON objects."""
    lines = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return lines
