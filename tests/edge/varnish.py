"""A real varnishd with the configuration that operators get."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx

from cdn.render import START, varnish, write
from cdn.settings import CdnSettings
from flagstream.settings import load
from stream_server.settings import StreamServerSettings
from tests.servers import Process, free_port, missing, wait_until

__all__ = ["Varnish"]

MOST_CLIENTS = 3000
COMPILER = ("-p", "cc_command=exec cc -w -O0 -fpic -shared -o %o %s")
"""Varnish compiles its configuration from C; optimising it is two thirds of what its start costs."""
PATIENT = ("-p", "timeout_idle=60")
"""A test with hundreds of clients on a busy machine may connect long before it asks."""


class Varnish:
    """One edge on a port that stays the same over restarts; `settings` are those of `[cdn]`.

    `streams` are the settings of the stream servers behind it, for the numbers that must agree.
    """

    def __init__(
        self,
        folder: Path,
        *,
        streams: dict[str, Any] | None = None,
        arguments: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        if shutil.which("varnishd") is None:
            missing("varnishd", "varnish")
        self.folder = folder / "edge"
        self.name = str(folder / "varnish")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        chosen = {
            "clients": MOST_CLIENTS,
            "environments": 500,
            "waiting_room": "",
            "purgers": ("127.0.0.1",),
            "drain_file": str(folder / "draining"),
            **settings,
            "port": self.port,
        }
        self.settings = load(CdnSettings, environ={}, overrides=chosen)
        write(varnish(self.settings, load(StreamServerSettings, environ={}, overrides=streams or {})), self.folder)
        # Without a jail, whose user could not read the folder of a test.
        command = [str(self.folder / START), "-j", "none", "-n", self.name, "-l", "8m", *COMPILER, *PATIENT, *arguments]
        self.process = Process(command, log=folder / "varnishd.log")

    def start(self) -> Self:
        self.process.start()

        def answers() -> bool:
            assert self.process.running, self.process.output()
            try:
                return httpx.get(f"{self.url}/health", timeout=2).is_success
            except httpx.TransportError:
                return False

        wait_until(answers, "varnishd's start")
        return self

    def stop(self) -> None:
        self.process.stop()

    def counters(self) -> dict[str, int]:
        """Return varnishstat's counters by name, as ``MAIN.cache_miss``."""
        done = subprocess.run(["varnishstat", "-1", "-j", "-n", self.name], check=True, capture_output=True)
        return {name: int(each["value"]) for name, each in json.loads(done.stdout)["counters"].items()}

    def counter(self, name: str) -> int:
        return self.counters()[name]

    def log(self) -> str:
        """Return all that Varnish has logged so far."""
        done = subprocess.run(
            ["varnishlog", "-d", "-g", "raw", "-n", self.name], check=True, capture_output=True, timeout=30
        )
        return done.stdout.decode(errors="replace")
