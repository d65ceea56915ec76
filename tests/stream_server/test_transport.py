"""The transport of plain TCP: what asyncio's own promise their protocols (asyncio documentation, Transports)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from stream_server.front import Front
from stream_server.listening import bind, url_of
from tests.stream_server.connections import connected
from tests.stream_server.raw import until

pytestmark = pytest.mark.asyncio

BODY = bytes(range(256)) * 4096 * 8  # 8 MiB: more than the kernel buffers on loopback


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received = b""
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.stay = False
        self.on_data: Callable[[bytes], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stay

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.error = exc


class Serving:
    """A front whose connections are recorders."""

    def __init__(self) -> None:
        self.url = ""
        self.recorders: list[Recorder] = []

    def new(self) -> Recorder:
        self.recorders.append(Recorder())
        return self.recorders[-1]

    async def recorder(self, number: int = 0) -> Recorder:
        await until(lambda: len(self.recorders) > number, "the connection")
        return self.recorders[number]


async def lost(recorder: Recorder) -> None:
    await until(lambda: recorder.calls[-1] == "lost", "the end of the connection")


@asynccontextmanager
async def serving() -> AsyncIterator[Serving]:
    [listener] = bind("127.0.0.1", 0, 1)
    server = Serving()
    server.url = url_of(listener)
    front = Front(server.new, lambda: (), encryption=None, ceiling=1 << 20, accept_pace=0, peer_timeout=60)
    front.open([listener])
    try:
        yield server
    finally:
        front.stop_accepting()
        front.close()
        await until(lambda: all("lost" in each.calls for each in server.recorders), "the end of every connection")
        listener.close()


async def test_more_than_every_buffer_arrives_whole_and_the_writer_is_paused_meanwhile() -> None:
    async with serving() as server, connected(server.url) as client:
        recorder = await server.recorder()
        recorder.transport.write(BODY)
        assert recorder.calls == ["made", "pause"]
        assert recorder.transport.get_write_buffer_size() > 0
        assert await client.exactly(len(BODY)) == BODY
        await until(lambda: recorder.calls[-1] == "resume", "the end of the pause")
        assert recorder.calls == ["made", "pause", "resume"]
        assert recorder.transport.get_write_buffer_size() == 0


async def test_what_is_written_in_one_turn_goes_out_in_order_and_close_waits_for_it() -> None:
    async with serving() as server, connected(server.url) as client:
        recorder = await server.recorder()
        for part in (b"a", BODY, b"z"):
            recorder.transport.write(part)
        recorder.transport.close()
        assert recorder.transport.is_closing()
        assert recorder.calls[-1] != "lost"
        assert await client.rest() == b"a" + BODY + b"z"
        await lost(recorder)
        assert recorder.error is None
        assert recorder.calls.count("lost") == 1


async def test_abort_drops_what_waits() -> None:
    async with serving() as server, connected(server.url) as client:
        recorder = await server.recorder()
        recorder.transport.write(BODY)
        recorder.transport.abort()
        recorder.transport.abort()
        assert recorder.calls[-1] != "lost", "never from inside a call of the protocol's own"
        assert len(await client.rest()) < len(BODY)
        assert recorder.calls.count("lost") == 1


async def test_pause_of_reading_leaves_the_client_waiting_and_loses_nothing() -> None:
    async with serving() as server, connected(server.url) as client:
        recorder = await server.recorder()
        recorder.transport.pause_reading()
        assert not recorder.transport.is_reading()
        client.send(BODY)
        sending = asyncio.create_task(client.writer.drain())
        await asyncio.sleep(0.1)
        assert not sending.done()
        assert recorder.received == b""
        recorder.transport.resume_reading()
        await sending
        await until(lambda: len(recorder.received) == len(BODY), "everything")
        assert recorder.received == BODY


async def test_each_side_can_be_closed_alone() -> None:
    async with serving() as server, connected(server.url) as client:
        recorder = await server.recorder()
        recorder.stay = True
        client.send(b"all")
        client.writer.write_eof()
        await until(lambda: recorder.calls[-1] == "eof", "the client's end")
        recorder.transport.write(BODY)
        assert await client.exactly(len(BODY)) == BODY
        recorder.transport.write(b"last")
        recorder.transport.write_eof()
        assert await client.rest() == b"last"
        assert recorder.calls.count("eof") == 1
        recorder.transport.close()


async def test_reset_is_told_once_with_its_reason_whether_one_writes_or_reads() -> None:
    async with serving() as server:
        for number, writing in enumerate((True, False)):
            async with connected(server.url) as client:
                recorder = await server.recorder(number)
                if writing:
                    recorder.transport.write(BODY)
                client.reset()
            await lost(recorder)
            assert isinstance(recorder.error, ConnectionError)
            recorder.transport.write(b"into nothing")
            recorder.transport.close()
            assert recorder.calls.count("lost") == 1


async def test_protocol_that_stumbles_over_one_client_serves_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, connected(server.url) as bad, connected(server.url) as good:
        stumbling, other = await server.recorder(0), await server.recorder(1)

        def stumble(_: bytes) -> None:
            raise ValueError("a fault of ours")

        stumbling.on_data = stumble
        other.on_data = other.transport.write
        bad.send(b"x")
        assert await bad.rest() == b""
        good.send(b"echo")
        assert await good.exactly(4) == b"echo"
        assert stumbling.calls[-1] == "lost"
    assert len([record for record in caplog.records if record.exc_info]) <= 1
