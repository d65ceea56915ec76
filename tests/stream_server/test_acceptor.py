"""Taking connections in: a few a turn, at a pace, and never at the cost of what runs."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stream_server.acceptor import BATCH, Acceptor
from stream_server.listening import bind
from tests.servers import NatsServer
from tests.stream_server.raw import Announcer, Answer, open_stream, program, stream_path, until

pytestmark = pytest.mark.asyncio

VERSION = 1735229888760123


class Taken:
    """What an acceptor took, by turns of the loop."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.connections: list[socket.socket] = []
        self.at: list[float] = []

    def take(self, connection: socket.socket, peer: Any) -> None:
        assert peer[0] == "127.0.0.1"
        self.stack.enter_context(connection)
        self.connections.append(connection)
        self.at.append(asyncio.get_running_loop().time())


@asynccontextmanager
async def accepting(*, ceiling: int = 1 << 20, pace: float = 0.0, clients: int) -> AsyncIterator[Taken]:
    """Let `clients` connect first and start to accept then."""
    with ExitStack() as stack:
        [listener] = bind("127.0.0.1", 0, 1)
        stack.enter_context(listener)
        taken = Taken(stack)
        for _ in range(clients):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        acceptor = Acceptor(listener, taken.take, ceiling=ceiling, pace=pace, make_room=lambda: False)
        acceptor.start(asyncio.get_running_loop())
        try:
            yield taken
        finally:
            acceptor.stop()


async def test_storm_is_taken_a_few_at_a_time_with_turns_in_between() -> None:
    async with accepting(clients=BATCH * 5) as taken:
        turns = 0
        while len(taken.connections) < BATCH * 5:
            before = len(taken.connections)
            await asyncio.sleep(0)
            assert len(taken.connections) - before <= BATCH
            turns += 1
        assert turns >= 5


async def test_pace_is_kept_from_the_first_to_the_last() -> None:
    async with accepting(clients=60, pace=100) as taken:
        await until(lambda: len(taken.connections) == 60, "the last connection")
        # 10 may come at once, 50 at 100 a second.
        assert taken.at[-1] - taken.at[0] > 0.45


async def test_nothing_is_accepted_at_the_ceiling_until_a_descriptor_is_free() -> None:
    clients = 20
    gc.collect()  # what other tests left to the collector would become free meanwhile
    free = [os.dup(0) for _ in range(1 + clients + 5)]  # the listener, the clients, five accepted
    ceiling = max(free) + 1
    for descriptor in free:
        os.close(descriptor)
    async with accepting(clients=clients, ceiling=ceiling) as taken:
        await until(lambda: len(taken.connections) >= 5, "what there is room for")
        await asyncio.sleep(0.2)
        waiting = clients - len(taken.connections)
        assert waiting > 5
        full = len(taken.connections)
        for connection in taken.connections[:3]:
            connection.close()
        await until(lambda: len(taken.connections) >= full + 3, "room for three more")
        await asyncio.sleep(0.2)
        assert len(taken.connections) <= full + 4


async def test_process_without_descriptors_keeps_its_streams_and_serves_who_waits_when_there_are_some(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    announcer = Announcer(nats_server)
    await announcer.create()
    with program(tmp_path, nats_url=nats_server.url) as server:
        await server.ready()
        running = [await open_stream(server.url) for _ in range(20)]
        for stream in running:
            await stream.chunk()
        pid = server.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are all it needs
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        waiting = [asyncio.create_task(Answer.to(server.url, stream_path("abc"))) for _ in range(10)]
        try:
            await until(lambda: server.logged("connections wait to be accepted"), "the warning")
            await announcer.announce(VERSION)
            for stream in running:
                await stream.until(VERSION)
            assert not all(task.done() for task in waiting)
            for stream in running[:10]:
                await stream.close()
            for task in waiting:
                late = await task
                assert late.status == 200
                await late.until(VERSION)
            assert len(server.logged("connections wait to be accepted")) == 1
        finally:
            for task in waiting:
                task.cancel()
            for answer in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(answer, Answer):
                    await answer.close()
            for stream in running:
                await stream.close()
