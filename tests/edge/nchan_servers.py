"""nginx with nchan as the shipped configuration has it, and the feeder, each on free ports and ended by its id."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from publisher import Publisher
from tests.programs import COMMAND, environment
from tests.servers import NatsServer, Process, answers, free_port, json_lines, missing, wait_until
from tests.stream_server.raw import Answer, stream_path, until

__all__ = ["CONFIG", "NUMBERS", "Feeder", "Nginx", "Site", "site"]

CONFIG = Path(__file__).parent.parent.parent / "cdn" / "nchan" / "nginx.conf"
MODULES = Path("/usr/lib/nginx/modules")
LIFETIMES = "12.5% 26; 12.5% 27; 12.5% 28; 12.5% 29; 12.5% 30; 12.5% 31; 12.5% 32; * 33;"
NUMBERS = '"silence": 18, "lifetimes": [26, 27, 28, 29, 30, 31, 32, 33]'


class Nginx:
    """The shipped nginx.conf with ports of its own; `short`: streams of 5 and 6 s."""

    def __init__(self, folder: Path, *, origin: str = "127.0.0.1:9", short: bool = False, workers: int = 1) -> None:
        binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if binary is None or not (MODULES / "ngx_nchan_module.so").exists():
            missing("nginx with nchan", "libnginx-mod-nchan")
        if not (MODULES / "ngx_http_headers_more_filter_module.so").exists():
            missing("nginx's headers-more module", "libnginx-mod-http-headers-more-filter")
        self.folder = folder
        self.port, self.feeder_port = free_port(), free_port()
        changes = {
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "127.0.0.1:8085": f"127.0.0.1:{self.feeder_port}",
            "127.0.0.1:8088": origin,
            "user www-data;": "user root;" if os.geteuid() == 0 else "",
            "worker_processes 1;": f"worker_processes {workers};",
            "worker_rlimit_nofile 1048576;": "",
            "worker_connections 100000;": "worker_connections 4000;",
            "access_log off;": f"access_log {folder}/access.log no_keys;",
        }
        if short:
            changes |= {
                LIFETIMES: "50% 5; * 6;",
                NUMBERS: '"silence": 4, "lifetimes": [5, 6]',
                "nchan_subscriber_timeout 18;": "nchan_subscriber_timeout 4;",
            }
        text = CONFIG.read_text()
        for old, new in changes.items():
            assert text.count(old) >= 1, f"nginx.conf has no {old}"
            text = text.replace(old, new)
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(text)
        command = [str(binary), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        self.process = Process(command, log=folder / "nginx.log")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def feeder_url(self) -> str:
        return f"http://127.0.0.1:{self.feeder_port}"

    def start(self) -> Self:
        self.process.start()
        wait_until(lambda: answers(self.port) and answers(self.feeder_port), "nginx's start")
        return self

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self) -> None:
        """Kill it and its workers, as a machine that loses its power would."""
        workers = self.workers() if self.process.running else []
        self.process.kill()
        for worker in workers:
            try:
                os.kill(worker, 9)
            except ProcessLookupError:
                continue
        wait_until(lambda: not answers(self.port), "nginx's end")

    def logs(self) -> str:
        access = self.folder / "access.log"
        return self.process.output() + (access.read_text() if access.exists() else "")


class Feeder:
    """`flagstream edge feed-nchan` as a process."""

    def __init__(self, folder: Path, nats_url: str, nginx: Sequence[Nginx], **settings: object) -> None:
        self.port = free_port()
        named = [argument for each in nginx for argument in ("--nginx", each.feeder_url)]
        env = environment(
            STREAM_SERVER_NATS_URL=nats_url,
            STREAM_SERVER_LOG_FORMAT="json",
            **{f"STREAM_SERVER_{name.upper()}": value for name, value in settings.items()},
        )
        command = [*COMMAND, "edge", "feed-nchan", *named, "--port", str(self.port)]
        self.process = Process(command, log=folder / "feeder.log", env=env)

    def start(self) -> Self:
        self.process.start()
        return self

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            response = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=10)
        except httpx.TransportError:
            return 0, {}
        return response.status_code, response.json()

    def figures(self) -> dict[str, float]:
        lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def unsent(self) -> float:
        """How many versions were not confirmed by the nginx that lacks most."""
        return max(value for name, value in self.figures().items() if name.startswith("flagstream_nchan_unsent"))

    async def process_end(self) -> int:
        """Stop it and return its exit status."""
        return await asyncio.to_thread(self.process.stop)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in json_lines(self.process.output()) if line.get("event") == event]

    async def well(self) -> None:
        """Wait until it says that all is well."""

        def is_well() -> bool:
            assert self.process.running, self.process.output()
            return self.health()[0] == 200

        await until(is_well, "the feeder's health", 20)


@dataclass(frozen=True, slots=True)
class Site:
    """A NATS, a feeder, nginx, and a publisher to announce with."""

    nats: NatsServer
    nginx: Nginx
    feeder: Feeder
    publisher: Publisher

    async def announce(self, key: str = "abc") -> int:
        """Announce a change of this moment and return its version."""
        return await self.publisher.publish(key, timeout=15)

    async def newest(self, key: str = "abc") -> int:
        """Return what a client that comes now is told first."""
        async with asyncio.timeout(30), await Answer.to(self.nginx.url, stream_path(key)) as stream:
            return await stream.version()

    async def told(self, version: int, key: str = "abc", seconds: float = 30) -> None:
        """Wait until clients that come are told `version`."""
        async with asyncio.timeout(seconds):
            while await self._told_at_once(key) != version:
                await asyncio.sleep(0.02)

    async def _told_at_once(self, key: str) -> int:
        """Return what a client that comes now is told within a moment, 0 for nothing."""
        try:
            async with asyncio.timeout(0.2):
                return await self.newest(key)
        except (OSError, EOFError):  # TimeoutError is one
            return 0


@asynccontextmanager
async def site(
    folder: Path,
    nats: NatsServer,
    *,
    origin: str = "127.0.0.1:9",
    short: bool = False,
    workers: int = 1,
    **settings: object,
) -> AsyncIterator[Site]:
    """Run nginx and a feeder with `settings` of the stream server; the feeder is well when the block begins."""
    nginx = Nginx(folder / "nginx", origin=origin, short=short, workers=workers).start()
    feeder = Feeder(folder, nats.url, [nginx], **settings)
    try:
        async with Publisher(nats.url) as publisher:
            await publisher.publish("first", timeout=15)  # makes the stream that the feeder reads
            feeder.start()
            await feeder.well()
            yield Site(nats, nginx, feeder, publisher)
    finally:
        for each in (feeder, nginx):
            if each.process.running:
                each.process.stop() if isinstance(each, Feeder) else each.kill()
