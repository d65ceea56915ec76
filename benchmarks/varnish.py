"""A real Varnish with the configuration that operators get, as a server under test."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.machine import Memory, memory
from benchmarks.processes import Process
from cdn.render import START, varnish, write
from cdn.settings import CdnSettings
from flagstream.settings import load
from stream_server.settings import StreamServerSettings
from tests.servers import free_port

__all__ = ["Varnish"]

NAIVE: Final = """\
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "PORT"; }
sub vcl_recv {
    if (req.url == "/health") { return (synth(200)); }
    return (hash);
}
sub vcl_backend_response {
    set beresp.do_stream = true;
    set beresp.grace = 0s;
    return (deliver);
}
sub vcl_deliver {
    if (!resp.is_streaming) { set resp.http.Connection = "close"; }
    return (deliver);
}
"""
"""What one would write first. The connection that closes lets the load generator see a replay end."""


class Varnish:
    """One edge on a free port; a context manager that ends it.

    `streams` are the settings of the stream servers behind it, `parameters` go to varnishd as ``-p NAME=VALUE``;
    `malloc` is jemalloc's configuration (MALLOC_CONF) instead of the one that `start` sets;
    with `naive` it runs a configuration without our rules.
    """

    def __init__(
        self,
        folder: Path,
        origins: Sequence[int],
        *,
        clients: int,
        streams: Mapping[str, Any] | None = None,
        waiting_room: int = 0,
        parameters: Mapping[str, str] | None = None,
        malloc: str = "",
        naive: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._name = str(folder / "varnish")
        chosen = {
            "port": self.port,
            # Whoever has gone keeps a thread until the next heartbeat, and rows follow each other faster.
            "clients": max(2 * clients, 100),
            "origins": [f"127.0.0.1:{port}" for port in origins],
            "waiting_room": f"127.0.0.1:{waiting_room}" if waiting_room else "",
            "drain_file": str(folder / "draining"),
        }
        edge = load(CdnSettings, environ={}, overrides=chosen)
        write(varnish(edge, load(StreamServerSettings, environ={}, overrides=dict(streams or {}))), folder / "edge")
        if naive:
            (folder / "edge" / "flagstream.vcl").write_text(NAIVE.replace("PORT", str(origins[0])))
        given = [word for name, value in (parameters or {}).items() for word in ("-p", f"{name}={value}")]
        command = [str(folder / "edge" / START), "-j", "none", "-n", self._name, *given]
        env = {**os.environ, "MALLOC_CONF": malloc} if malloc else None
        self.process = Process(command, folder / "varnishd.log", env=env)
        try:
            self.process.wait(self._answers, "varnishd's start")
        except BaseException:
            self.process.kill()
            raise

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def counters(self) -> dict[str, int]:
        """Return varnishstat's counters by name, as ``MAIN.backend_req``."""
        done = subprocess.run(["varnishstat", "-1", "-j", "-n", self._name], check=True, capture_output=True)
        return {name: int(each["value"]) for name, each in json.loads(done.stdout)["counters"].items()}

    def memory(self) -> Memory:
        """Return the memory of its processes together."""
        return memory(self.process.pids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
