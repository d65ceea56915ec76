"""What many clients behind an edge are tested with: real stream servers, an origin that acts by a script, the swarm."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.announcing import NatsAnnouncing
from benchmarks.machine import allow_open_files
from benchmarks.swarm import Swarm
from tests.edge.varnish import Varnish
from tests.programs import Program, stream_server
from tests.programs import waiting_room as waiting_room_of
from tests.servers import NatsServer, Process, missing, wait_until

__all__ = ["Act", "Installation", "ScriptedOrigin", "installation", "naive", "opened_at", "place", "swarm"]

NAIVE = """\
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "PORT"; }
sub vcl_recv {
    if (req.url == "/health") {
        return (synth(200));
    }
    return (hash);
}
sub vcl_backend_response {
    set beresp.do_stream = true;
    set beresp.grace = 0s;
    return (deliver);
}
sub vcl_deliver {
    # Clients read a replayed stream to its end, which is that of the connection to those who count chunks.
    if (!resp.is_streaming) {
        set resp.http.Connection = "close";
    }
    return (deliver);
}
"""


def path(key: str) -> str:
    return f"/sse/environments/{key}/stream"


def place(url: str) -> str:
    """Return HOST:PORT of a URL."""
    return url.removeprefix("http://")


def opened_at(url: str) -> int:
    """Return how many streams a stream server has opened since its start."""
    found = re.search(r"^flagstream_streams_opened_total (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return int(float(found[1])) if found else 0


@contextmanager
def swarm(port: int, clients: int, folder: Path, *, first: int = 0) -> Iterator[Swarm]:
    """Run the load generator of the benchmarks against one port."""
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc")
    allow_open_files()
    with Swarm(port, clients, folder, first=first) as running:
        yield running


@dataclass(slots=True)
class Installation:
    """NATS, stream servers that stay at their ports over restarts, a waiting room, and an edge in front of them."""

    nats: NatsServer
    origins: list[Program]
    waiting_room: Program | None
    edge: Varnish
    life: dict[str, Any]
    folder: Path
    announcing: NatsAnnouncing

    def announce(self, key: str) -> int:
        return self.announcing.announce(key)

    def opened(self) -> int:
        """Return the streams that the origins that run have opened."""
        return sum(opened_at(each.url) for each in self.origins if each.process.running)

    @contextmanager
    def clients(self, most: int) -> Iterator[Swarm]:
        with swarm(self.edge.port, most, self.folder) as running:
            yield running


@contextmanager
def installation(
    folder: Path, *, origins: int = 1, waiting_room: bool = False, life: dict[str, Any], **edge: Any
) -> Iterator[Installation]:
    """Run one with stream servers of the settings `life`; `edge` are settings of `[cdn]`."""
    allow_open_files()
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        nats = NatsServer(folder).start()
        stack.callback(nats.kill)
        announcing = NatsAnnouncing(nats.port)  # makes the stream that servers read before they are ready
        stack.callback(announcing.close)
        chosen = {"edge": "true", "drain": life["lifetime"] + 5, **life}
        servers = [
            stream_server(
                folder, nats_url=nats.url, upstream_url="http://127.0.0.1:9", name=f"origin-{number}", **chosen
            )
            for number in range(origins)
        ]
        room = waiting_room_of(folder, [each.url for each in servers]) if waiting_room else None
        for program in (*servers, *((room,) if room else ())):
            program.start(ready=False)
            stack.callback(_end, program.process)
        for program in (*servers, *((room,) if room else ())):
            program.wait_ready()
        varnish = Varnish(
            folder,
            streams={**chosen, "edge": True},
            origins=[place(each.url) for each in servers],
            waiting_room=place(room.url) if room else "",
            **edge,
        ).start()
        stack.callback(_end, varnish.process)
        yield Installation(nats, servers, room, varnish, chosen, folder, announcing)


def _end(process: Process) -> None:
    if process.running:
        process.kill()


@contextmanager
def naive(folder: Path, port: int) -> Iterator[Varnish]:
    """Run a Varnish with the configuration that one would write first: joins what is fresh, and no more."""
    edge = Varnish(folder, origins=[f"127.0.0.1:{port}"])
    (edge.folder / "flagstream.vcl").write_text(NAIVE.replace("PORT", str(port)))
    edge.start()
    try:
        yield edge
    finally:
        edge.stop()


@dataclass(frozen=True, slots=True)
class Act:
    """One stream of a scripted origin: `seconds` to its clean end, `fresh` its s-maxage, `silence` before headers."""

    seconds: float
    fresh: int
    silence: float = 0.0


@dataclass
class ScriptedOrigin:
    """Opens streams as `script` says for each number from 0 on; `requests` are the paths that were asked for."""

    script: Callable[[int], Act]
    port: int = 0
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        wait_until(started.is_set, "the scripted origin's start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def _run(self, started: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(started))

    async def _serve(self, started: threading.Event) -> None:
        self._over = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._over.wait()
        server.close()
        for writer in list(self._open):
            writer.transport.abort()
        while self._open:
            await asyncio.sleep(0.01)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while not self._over.is_set():
                    head = await reader.readuntil(b"\r\n\r\n")
                    await self._answer(head.split()[1].decode(), writer)
        finally:
            writer.close()
            self._open.discard(writer)

    async def _answer(self, asked: str, writer: asyncio.StreamWriter) -> None:
        if asked.startswith("/health"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        act = self.script(len(self.requests))
        self.requests.append(asked)
        await self._pause(act.silence)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            b"Cache-Control: public, max-age=0, s-maxage=%d\r\n\r\n9\r\n: begun\n\n\r\n" % act.fresh
        )
        await self._pause(act.seconds)
        writer.write(b"0\r\n\r\n")

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
