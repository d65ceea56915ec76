"""A client that reads the very bytes of an answer, and the stream server as tests run it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.js.api import StreamConfig

from flagstream.settings import load
from publisher.messages import STREAM, SUBJECTS, encode, subject, version_of
from stream_server.app import Parts, Place, assemble, create_app
from stream_server.listening import bind, url_of
from stream_server.server import Server
from stream_server.settings import DRAIN_MARGIN, SHORTEST_WINDOW, StreamServerSettings
from tests.programs import COMMAND, unmeasured
from tests.servers import ForkedProcess, NatsServer, Process, json_lines, wait_until

PATIENCE = 30.0
SHORTEST_SHARED = SHORTEST_WINDOW + 2
NUMBER = re.compile(rb'data: \{"updated_at": ([0-9.e+]+)\}')


class CutError(Exception):
    """The connection ended without the final chunk."""


class Answer:
    """One answer off a raw connection: status, headers in order, and the body chunk by chunk."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self.status = 0
        self.headers: dict[str, str] = {}

    @classmethod
    async def to(
        cls, url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Self:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        answer = cls(reader, writer)
        try:
            await answer.ask(path, method, headers, body)
        except BaseException:  # nobody else can close it: a server that goes away answers nothing
            writer.close()
            raise
        return answer

    async def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        fields = {"Host": "test", **(headers or {})}
        if body:
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode() + body)
        async with asyncio.timeout(PATIENCE):
            self.head = await self.reader.readuntil(b"\r\n\r\n")
        first, *rest = self.head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest if line)}

    async def chunk(self) -> bytes | None:
        """Return the next chunk's content, None at the clean end; raises `CutError` where there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                data = await self.reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise CutError from None
        assert data.endswith(b"\r\n")
        return data[:-2] if size else None

    async def block(self) -> bytes | None:
        """Return the next chunk that is no heartbeat."""
        while (chunk := await self.chunk()) == b": ping\n\n":
            continue
        return chunk

    async def version(self) -> int:
        """Return the version of the next event."""
        block = await self.block()
        assert block is not None, "the stream ended"
        found = NUMBER.search(block)
        return version_of(float(found[1])) if found else 0

    async def until(self, version: int) -> list[int]:
        """Read events up to `version` and return them all."""
        seen = [await self.version()]
        while seen[-1] != version:
            seen.append(await self.version())
        return seen

    async def rest(self) -> list[bytes]:
        """Read to the clean end."""
        chunks = []
        while (chunk := await self.chunk()) is not None:
            chunks.append(chunk)
        return chunks

    async def content(self) -> bytes:
        """Read a body with a length."""
        return await self.reader.readexactly(int(self.headers["content-length"]))

    async def json(self) -> Any:
        return json.loads(await self.content())

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def stream_path(key: str) -> str:
    return f"/sse/environments/{key}/stream"


async def open_stream(url: str, key: str = "abc") -> Answer:
    """Open a stream and read its headers."""
    answer = await Answer.to(url, stream_path(key))
    assert answer.status == 200
    return answer


def settings_for(nats_url: str = "nats://127.0.0.1:9", **changes: Any) -> StreamServerSettings:
    """Return settings with short times; the default broker is one that nobody can reach."""
    short = {
        "port": 0,
        "nats_url": [nats_url],
        "lifetime": 30.0,
        "join_window": 0.0,
        "min_interval": 0.0,
        "max_events": 100_000,
        "max_bytes": 20_000_000,
        "log_format": "json",
    }
    chosen = {**short, **changes}
    # Shorter streams than these nobody could share; they are as exact without an edge.
    chosen.setdefault("edge", chosen["lifetime"] >= SHORTEST_SHARED)
    if chosen["edge"] is True:
        chosen["join_window"] = max(chosen["join_window"], SHORTEST_WINDOW)
    # Behind an edge a drain is longer than a lifetime; these servers are stopped by a second signal.
    chosen.setdefault("drain", chosen["lifetime"] + DRAIN_MARGIN if chosen["edge"] is True else 0.0)
    return load(StreamServerSettings, overrides=chosen, environ={})


class Running:
    """A stream server in this very process: tests reach into its parts."""

    def __init__(self, url: str, parts: Parts, server: Server) -> None:
        self.url = url
        self.parts = parts
        self.server = server

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ready(self) -> None:
        await until(lambda: self.parts.feed.ready, "the first reading")


@asynccontextmanager
async def running(
    settings: StreamServerSettings, place: Place | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Running]:
    """Run a stream server on a free port until the block ends."""
    [listener] = bind(host, 0, 1)
    url = url_of(listener)
    parts = assemble(settings, place)
    server = Server(create_app(settings, parts), settings, hub=parts.hub, drain=parts.drain)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started, "the server's start")
        yield Running(url, parts, server)
    finally:
        server.stop()
        server.stop()
        await task


async def until(condition: Any, what: str, seconds: float = PATIENCE) -> None:
    """Wait until `condition()` is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {seconds:g} s"
        await asyncio.sleep(0.005)


class Announcer:
    """Writes announcements to a broker of the test's own, as a publisher would."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = await nats.connect(self.server.url, allow_reconnect=False, connect_timeout=PATIENCE)
        try:
            yield client
        finally:
            await client.close()

    async def create(self) -> None:
        """Make the JetStream stream."""
        async with self.client() as client:
            config = StreamConfig(name=STREAM, subjects=[SUBJECTS], max_msgs_per_subject=1)
            await client.jetstream(timeout=PATIENCE).add_stream(config)

    async def delete(self) -> None:
        async with self.client() as client:
            await client.jetstream(timeout=PATIENCE).delete_stream(STREAM)

    async def announce(self, *versions: int, key: str = "abc") -> None:
        """Publish and wait for the acknowledgement of each."""
        async with self.client() as client:
            for version in versions:
                await client.jetstream(timeout=PATIENCE).publish(subject(key), encode(version))

    async def say(self, payload: bytes, key: str = "abc") -> None:
        """Publish anything."""
        async with self.client() as client:
            await client.publish(subject(key), payload)
            await client.flush()


class Program:
    """`flagstream serve` as a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = ""

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in json_lines(self.process.output()) if line.get("event") == event]

    async def started(self) -> None:
        await until(lambda: self.logged("listening"), "the line that says where it listens")
        self.url = str(self.logged("listening")[-1]["url"])

    async def ready(self) -> None:
        """Wait until it says that it is ready."""
        await self.started()
        while True:
            async with await Answer.to(self.url, "/health/readiness") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.02)

    async def ended(self) -> int:
        """Wait for its end and return the exit status."""
        assert self.process.popen is not None
        await until(lambda: not self.process.running, "the end of the program")
        status = self.process.popen.poll()
        assert status is not None
        return status

    def signal(self, sig: signal.Signals) -> None:
        os.kill(self.process.pid, sig)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def program(folder: Path, *, files: int = 0, **settings: Any) -> Iterator[Program]:
    """Start `flagstream serve` with `settings` on a free port; killed at the end if it still runs.

    `files` is its hard limit of open files, 0 for that of the tests.
    """
    short = {
        "port": 0,
        "log_format": "json",
        "lifetime": 30,
        "join_window": 1 if settings.get("edge", "true") == "true" else 0,
        "edge": "true",
        "min_interval": 0,
        "max_events": 1000,
        "max_bytes": 1_000_000,
        **settings,
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_SERVER_")}
    env |= {f"STREAM_SERVER_{name.upper()}": str(value) for name, value in short.items()}
    log = folder / "stream_server.log"
    if files or "workers" in settings or "supervised" in settings:  # what has processes of its own is measured
        limited = ["prlimit", f"--nofile={files}:{files}"] if files else []  # of util-linux; becomes the command
        process = Process([*limited, *COMMAND, "serve"], log=log, env=env)
    else:
        process = ForkedProcess(["serve"], log=log, env=unmeasured(env))
    started = Program(process.start())
    try:
        yield started
    finally:
        if started.process.running:
            children = started.children()
            started.process.kill()
            for child in children:
                wait_until(lambda child=child: not is_alive(child), "the end of a worker")  # type: ignore[misc]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def send(pid: int, sig: signal.Signals) -> None:
    os.kill(pid, sig)
