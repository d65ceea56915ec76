"""The handshake with NATS when it breaks off or is interrupted, and what a flush says: a real server behind a way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats import errors
from nats.aio.msg import Msg

from tests.broker.conftest import Link, linked, truth, until
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio


class Way:
    """A way to `server`; the first `breaks` connections over it are cut at the client's first words.

    With `pings`, the server's first PING comes before its answer to the client's: it sends one 2 s after the CONNECT,
    and a client that was frozen in between finds both.
    """

    def __init__(self, server: NatsServer, *, breaks: int = 0, pings: bool = False) -> None:
        self.sent = b""
        """What clients have sent over it since it was last cut, without their CONNECT."""
        self.reads = asyncio.Event()
        """Cleared, it takes nothing from clients any more."""
        self.reads.set()
        self._server = server
        self._breaks = breaks
        self._pings = pings
        self._ways: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Lead connections on; yields the address."""
        listener = await asyncio.start_server(self._take, "127.0.0.1", 0)
        try:
            yield f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            for task in self._ways:
                task.cancel()
            await asyncio.wait(self._ways)

    async def cut(self) -> None:
        """End every connection over it; those made later are read again."""
        ways = set(self._ways)
        for task in ways:
            task.cancel()
        await asyncio.wait(ways)
        self.sent = b""
        self.reads.set()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ways.add(asyncio.create_task(self._lead(reader, writer)))

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            info = await there.readline()
            writer.write(info)
            back.write(await reader.readline())  # CONNECT
            if self._breaks:
                self._breaks -= 1
                return
            if self._pings:
                writer.write(b"PING\r\n")
            await asyncio.gather(self._pass_on(there, writer), self._pass_on(reader, back, noted=True))
        finally:
            writer.close()
            back.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, noted: bool = False
    ) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            if noted:
                await self.reads.wait()
                self.sent += data
        writer.close()


async def test_a_ping_of_the_server_in_the_handshake_is_no_answer_to_ours(nats_server: NatsServer, link: Link) -> None:
    async with Way(nats_server, pings=True).open() as url, linked(url) as ours:
        await asyncio.wait_for(ours.up.wait(), 30)
        assert ours.client.is_connected
        assert ours.connected == 1
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def hear(message: Msg) -> None:
            heard.put_nowait(message.data)

        for number in range(20):
            await ours.client.subscribe(f"topic.{number}", cb=hear)
            await ours.client.flush()  # from here on the subscription is in force
            await link.client.publish(f"topic.{number}", b"%d" % number)
            assert await asyncio.wait_for(heard.get(), 30) == b"%d" % number


async def test_a_server_that_leaves_in_the_handshake_is_tried_again(nats_server: NatsServer) -> None:
    async with Way(nats_server, breaks=2).open() as url, linked(url) as link:
        await asyncio.wait_for(link.up.wait(), 30)
        assert link.client.is_connected
        await link.client.flush()
        assert (link.connected, link.lost) == (1, 0)


async def test_a_flush_is_a_barrier_for_what_was_said_before_it(nats_server: NatsServer) -> None:
    way = Way(nats_server)
    async with way.open() as url, linked(url) as link:
        await asyncio.wait_for(link.up.wait(), 30)
        for number in range(10):
            await link.client.subscribe(f"topic.{number}")
            await link.client.publish("any", b"%d" % number)
            await link.client.flush()
            assert way.sent.endswith(b"PUB any  1\r\n%d\r\nPING\r\n" % number)


async def test_a_flush_fails_at_once_when_its_connection_is_lost_and_while_nats_is_away(
    nats_server: NatsServer, link: Link
) -> None:
    nats_server.pause()
    while True:
        flush = asyncio.ensure_future(link.client.flush(600))
        if not (await asyncio.wait([flush], timeout=0.1))[0]:  # else the signal has not taken effect yet
            break
    nats_server.kill()
    with pytest.raises(errors.ConnectionReconnectingError):
        await asyncio.wait_for(flush, 30)
    with pytest.raises(errors.ConnectionReconnectingError):
        await link.client.flush()


async def test_a_flush_that_could_not_be_sent_fails_and_is_not_sent_over_the_next_connection(
    nats_server: NatsServer,
) -> None:
    way = Way(nats_server)
    async with way.open() as url, linked(url) as link:
        await asyncio.wait_for(link.up.wait(), 30)
        way.reads.clear()
        while not link.client._pending:  # the socket takes it for as long as there is room
            await link.client.publish("any", bytes(1_000_000))
            await asyncio.sleep(0)
        flushes = [asyncio.ensure_future(link.client.flush(600)) for _ in range(3)]
        await asyncio.sleep(0)
        assert link.client._pending[-3:] == [b"PING\r\n"] * 3
        await way.cut()
        for flush in flushes:
            with pytest.raises(errors.ConnectionReconnectingError):
                await asyncio.wait_for(flush, 30)
        await until(lambda: truth(link.connected == 2), "the return")
        assert way.sent == b"PING\r\n" * 2  # of the handshake, and nats-py's own after it
        await link.client.flush()
        assert link.client._pongs == []
