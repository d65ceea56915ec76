"""Our own programs as users run them: `flagstream up`, `flagstream manage`, `flagstream serve`, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx

from tests.servers import ForkedProcess, Process, answers, free_port, wait_until

ADMIN_TOKEN = "admin-token-of-a-test"
SSE_TOKEN = "sse-token-of-a-test"
PREFIXES = ("PUBLISHER_", "STREAM_SERVER_", "FLAGSTREAM_")
MEASURING = "COVERAGE_PROCESS_"
COMMAND = [sys.executable, "-m", "flagstream"]


def environment(**settings: object) -> dict[str, str]:
    """The test's environment without settings of whoever runs it, with `settings` instead."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
    return kept | {name: str(value) for name, value in settings.items()}


def unmeasured(env: dict[str, str]) -> dict[str, str]:
    """Return `env` without what makes a Python program measure its coverage, which is a third of what its start costs.

    For tests that need a program but whose subject it is not: those whose subject it is measure it.
    """
    return {name: value for name, value in env.items() if not name.startswith(MEASURING)}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Program:
    """A program with an HTTP port that stays the same over restarts; `measured` programs tell their coverage."""

    def __init__(
        self, name: str, arguments: list[str], folder: Path, port: int, env: dict[str, str], *, measured: bool = False
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        log = folder / f"{name}.log"
        self.process = (
            Process([*COMMAND, *arguments], log=log, env=env)
            if measured
            else ForkedProcess(arguments, log=log, env=unmeasured(env))
        )

    def start(self, *, ready: bool = True) -> Self:
        self.process.start()
        if ready:
            self.wait_ready()
        return self

    def is_ready(self) -> bool:
        # This is asked a hundred times a second of a program that needs the processor to start.
        if not answers(self.port):
            return False
        try:
            return httpx.get(f"{self.url}/health/readiness", timeout=2).is_success
        except httpx.TransportError:
            return False

    def wait_ready(self, seconds: float = 30) -> None:
        def ready() -> bool:
            assert self.process.running, self.process.output()
            return self.is_ready()

        wait_until(ready, f"{self.name}'s readiness", seconds)

    def kill(self) -> None:
        self.process.kill()

    def stop(self) -> int:
        return self.process.stop()

    def output(self) -> str:
        return self.process.output()


def publisher(
    folder: Path,
    *,
    nats_url: str,
    database_url: str,
    stream_url: str = "http://127.0.0.1:1",
    name: str = "publisher",
    measured: bool = False,
    **settings: object,
) -> Program:
    port = free_port()
    env = environment(
        PUBLISHER_PORT=port,
        PUBLISHER_NATS_URL=nats_url,
        PUBLISHER_DATABASE_URL=database_url,
        PUBLISHER_ADMIN_TOKEN=ADMIN_TOKEN,
        PUBLISHER_SSE_TOKEN=SSE_TOKEN,
        PUBLISHER_PUBLIC_STREAM_URL=stream_url,
        **{f"PUBLISHER_{key.upper()}": value for key, value in settings.items()},
    )
    return Program(name, ["manage"], folder, port, env, measured=measured)


def stream_server(
    folder: Path,
    *,
    nats_url: str,
    upstream_url: str,
    name: str = "stream_server",
    measured: bool = False,
    **settings: object,
) -> Program:
    port = free_port()
    env = environment(
        STREAM_SERVER_PORT=port,
        STREAM_SERVER_NATS_URL=nats_url,
        STREAM_SERVER_UPSTREAM_URL=upstream_url,
        **{f"STREAM_SERVER_{key.upper()}": value for key, value in settings.items()},
    )
    return Program(name, ["serve"], folder, port, env, measured=measured)


def waiting_room(folder: Path, waiting_for: list[str]) -> Program:
    """A waiting room beside our Varnish, which lets its clients go as soon as one of these stream servers is ready."""
    port = free_port()
    env = environment(
        STREAM_SERVER_PORT=port,
        STREAM_SERVER_WAITING_ROOM="true",
        STREAM_SERVER_EDGE_GUARD="true",
        STREAM_SERVER_WAITING_FOR=",".join(waiting_for),
    )
    return Program("waiting_room", ["serve"], folder, port, env)


class Up:
    """`flagstream up --json` with free ports; `stack` is the line it printed."""

    def __init__(
        self, data: Path | None, *arguments: str, env: dict[str, str] | None = None, measured: bool = True
    ) -> None:
        ports = ["--publisher-port", "0", "--stream-port", "0", "--nats-port", "0"]
        named = [] if data is None else ["--data", str(data)]
        self.command = [*COMMAND, "up", "--json", *ports, *named, *arguments]
        self.env = environment() if env is None else env
        if not measured:
            self.env = unmeasured(self.env)
        self.stack: dict[str, Any] = {}

    def __enter__(self) -> Self:
        # A file, not a pipe: a pipe that nobody reads would stop the programs once it is full.
        self._errors = tempfile.TemporaryFile("w+")
        self.popen = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=self._errors, env=self.env, text=True, start_new_session=True
        )
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            self.popen.communicate()
            with self._errors:
                raise AssertionError(self.errors)
        self.stack = json.loads(line)
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.stop()
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self._errors.close()

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read()

    @property
    def pids(self) -> list[int]:
        return [pid for pids in self.stack["pids"].values() for pid in pids]

    def stop(self, sig: int = signal.SIGINT) -> tuple[int, float, str]:
        """Send one signal; return the exit status, how long it took, and what else it printed on stdout."""
        began = time.monotonic()
        self.popen.send_signal(sig)
        out, _ = self.popen.communicate(timeout=30)
        return self.popen.returncode, time.monotonic() - began, out

    def api(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self.stack['admin_token']}"}
        response = httpx.request(method, f"{self.stack['publisher']}{path}", json=body, headers=headers, timeout=10)
        response.raise_for_status()
        return response.json()

    def toggle(self, **change: object) -> Any:
        """Change the demo feature."""
        demo = self.stack["environment"]
        return self.api("PATCH", f"/api/environments/{demo['key']}/features/{demo['feature']}", change)
