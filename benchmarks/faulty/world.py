"""A server that knows the truth and does what a fault script says: stream, documents and analytics of one environment.

The truth is a counter: each change makes it one more, under a version of its own. Every request is noted with its
time; times are Unix seconds, for clients in other processes note theirs by the same clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.faulty import wire
from benchmarks.faulty.peers import Peer
from benchmarks.faulty.wire import Change

__all__ = ["HEARTBEAT", "Answer", "World", "answer_document", "answers", "document", "follow"]

HEARTBEAT: Final = 1.0
NOTED: Final = 200_000
"""Requests of each kind whose times are kept, however many a client makes."""
PORTS: Final = range(20_000, 32_000)
"""Below those that the kernel gives to clients: one that tries a closed port often enough would meet itself there."""

Answer = Callable[["World", "Peer"], Awaitable[None]]


def answers(status: int, content_type: str = "text/plain") -> Answer:
    """Return what answers every request with an empty body."""

    async def answer(world: World, peer: Peer) -> None:
        del world
        peer.answer(status, b"", content_type)

    return answer


async def follow(world: World, peer: Peer) -> None:
    """Serve a good stream: the newest version at once, then every change and heartbeats, until its time is over."""
    peer.begin_stream(lifetime=world.lifetime, join_window=world.join_window)
    peer.send("retry: 2000\n" + wire.event(world.changes[-1]))
    world.streams.add(peer)
    over = asyncio.get_running_loop().call_later(world.lifetime, world.end_stream, peer)
    try:
        await peer.reader.read()
    finally:
        over.cancel()
        world.streams.discard(peer)


async def document(world: World, peer: Peer) -> None:
    """Serve the newest document."""
    answer_document(peer, world.changes[-1])


def answer_document(peer: Peer, change: Change) -> None:
    """Answer with the document of one change."""
    if peer.headers.get("if-none-match") == f'"{change.version}"':
        peer.answer(304, more=wire.labels(change))
        return
    body: Any = wire.flags(change)
    if "environment-document" in peer.path:
        body = wire.environment(change)
    elif "identities" in peer.path:
        body = {"identifier": "somebody", "flags": body, "traits": []}
    peer.answer(200, json.dumps(body).encode(), more=wire.labels(change))


@dataclass(slots=True)
class World:
    """The truth, the server that tells it, and what one client asked of it."""

    port: int = 0
    stream_answer: Answer = follow
    document_answer: Answer = document
    announcing: Callable[[World], list[Change]] = lambda world: world.changes[-1:]
    """The events that a change makes, in the order in which they are sent."""
    resets: bool = False
    lifetime: float = 3600.0
    join_window: float = 1800.0
    changes: list[Change] = field(default_factory=list)
    streams: set[Peer] = field(default_factory=set)
    stream_requests: array[float] = field(default_factory=lambda: array("d"))
    document_requests: array[float] = field(default_factory=lambda: array("d"))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def change(self) -> Change:
        """Change the flag now and tell the streams that are well."""
        self.changes.append(Change(len(self.changes), time.time()))
        text = "".join(wire.event(change) for change in self.announcing(self))
        self._tell(text)
        return self.changes[-1]

    def mute(self) -> None:
        """Let no stream that is open now hear anything any more, not even its end."""
        for peer in self.streams:
            peer.mute = True

    def end_streams(self) -> None:
        """End the streams that are open."""
        for peer in [*self.streams]:
            self.end_stream(peer)

    def end_stream(self, peer: Peer) -> None:
        """End one stream, unless it is mute or has gone."""
        if not peer.mute and not peer.writer.is_closing():
            peer.end()

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        if self._listener is None:
            while self._listener is None:
                self._listener = await self._bound(self.port or random.choice(PORTS))

    async def _bound(self, port: int) -> asyncio.Server | None:
        try:
            listener = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)
        except OSError:
            if self.port:
                raise
            return None
        self.port = port
        return listener

    async def refuse(self) -> None:
        """Close the port and reset the connections."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in [*self._writers]:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        self.change()
        await self.listen()
        self._spawn(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.refuse()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self._tell(": ping\n\n")

    def _tell(self, text: str) -> None:
        for peer in self.streams:
            if not peer.mute and not peer.writer.is_closing():
                peer.send(text)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                await self._answer(await Peer.read(reader, writer))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the phase or the run is over
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, peer: Peer) -> None:
        path = re.sub(r"/+", "/", peer.path)
        if peer.method == "OPTIONS":
            peer.answer(204)
        elif path.startswith("/sse/"):
            _note(self.stream_requests)
            await (_cut if self.resets else self.stream_answer)(self, peer)
        elif path.startswith(("/api/v1/flags/", "/api/v1/environment-document/", "/api/v1/identities/")):
            _note(self.document_requests)
            await (_cut if self.resets else self.document_answer)(self, peer)
        else:
            peer.answer(200 if path.startswith("/api/v1/analytics/") else 404, b"{}")


async def _cut(world: World, peer: Peer) -> None:
    del world
    peer.cut()


def _note(times: array[float]) -> None:
    if len(times) < NOTED:
        times.append(time.time())
