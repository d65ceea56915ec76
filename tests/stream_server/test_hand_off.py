"""What is left of a connection after the hand-off, and what becomes of it when the stream has ended."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from stream_server.descriptor_stream import DescriptorStream, Resting
from stream_server.front import Front
from stream_server.server import IDLE
from stream_server.stream import LEFT, Stream
from tests.stream_server.connections import connected
from tests.stream_server.raw import Answer, Running, open_stream, running, settings_for, stream_path, until

pytestmark = pytest.mark.asyncio

VERSION = 1735229888760123
REQUEST = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
HEALTH = b"GET /health/liveness HTTP/1.1\r\nHost: x\r\n\r\n"


def front_of(server: Running) -> Front:
    front = server.server._front
    assert front is not None
    return front


def handlers(server: Running) -> list[object]:
    return [handler for handler in front_of(server).poller._handlers if handler is not None]


def the_stream(server: Running) -> DescriptorStream:
    [stream] = (handler for handler in handlers(server) if isinstance(handler, DescriptorStream))
    return stream


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_after_the_hand_off_only_the_stream_is_left() -> None:
    async with running(settings_for()) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        assert not server.server.server_state.connections
        assert not server.server.server_state.tasks
        assert isinstance(the_stream(server), Stream)
        assert not hasattr(the_stream(server), "__dict__")


async def test_what_http_kept_for_a_stream_goes_without_the_collector() -> None:
    made: list[weakref.ref[asyncio.Protocol]] = []

    async with running(settings_for()) as server:
        front = front_of(server)
        new_protocol = front._new_protocol

        def watched() -> asyncio.Protocol:
            protocol = new_protocol()
            made.append(weakref.ref(protocol))
            return protocol

        front._new_protocol = watched
        with without_collector():
            streams = [await open_stream(server.url) for _ in range(20)]
            for stream in streams:
                await stream.chunk()
            await until(lambda: server.parts.hub.open == 20, "the streams")
            assert len(made) == 20
            await until(lambda: not any(reference() for reference in made), "the end of every protocol", 2)
            for stream in streams:
                await stream.close()
            await until(lambda: server.parts.hub.open == 0, "the end of every stream")
            assert not [each for each in gc.get_objects() if isinstance(each, Stream)]
        assert front_of(server).poller.watching == 0
        assert not any(server.parts.wheel._ticks.values())


async def test_connection_serves_the_next_requests_after_a_clean_end() -> None:
    async with running(settings_for(lifetime=3)) as server, connected(server.url) as client:
        client.send(REQUEST)
        await client.until(b"\r\n0\r\n\r\n")
        await until(lambda: isinstance(handlers(server)[0], Resting), "the rest between two requests")
        assert not server.server.server_state.connections, "an idle connection costs no HTTP protocol"
        client.send(HEALTH)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        await client.until(b"}")
        client.send(REQUEST)
        await client.until(b"retry: 2000\n\n")
        server.parts.hub.dispatch("abc", VERSION)
        await client.until(b"environment_updated")


async def test_resting_connection_ends_with_its_client_and_after_the_keep_alive_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream_server.descriptor_stream.KEEP_ALIVE", 0.3)
    async with running(settings_for(lifetime=3)) as server:
        async with connected(server.url) as patient, connected(server.url) as leaving:
            for client in (patient, leaving):
                client.send(REQUEST)
            await leaving.until(b"\r\n0\r\n\r\n")
            leaving.writer.close()
            assert (await patient.rest()).endswith(b"\r\n0\r\n\r\n"), "up to the close by the server"
        await until(lambda: front_of(server).poller.watching == 0, "the end of both connections")
        assert not any(server.parts.wheel._ticks.values())


async def test_connection_that_is_to_be_closed_ends_with_the_final_chunk_though_the_client_sent_more() -> None:
    async with running(settings_for(lifetime=3)) as server, connected(server.url) as client:
        client.send(REQUEST[:-2] + b"Connection: close\r\n\r\n")
        assert b"\r\nconnection: close\r\n" in await client.head()
        client.send(HEALTH * 100)  # unread when the connection is closed, it would reset it under the final chunk
        assert (await client.rest()).endswith(b"\r\n0\r\n\r\n")
        await until(lambda: front_of(server).poller.watching == 0, "the end of the connection")


async def test_rest_of_a_body_behind_the_request_of_a_stream_is_not_taken_for_a_request() -> None:
    async with running(settings_for(lifetime=3)) as server, connected(server.url) as client:
        client.send(REQUEST[:-2] + b"Content-Length: 200\r\n\r\n")
        await client.until(b"retry: 2000\n\n")
        client.send(HEALTH)
        assert (await client.rest()).endswith(b"\r\n0\r\n\r\n")


async def test_stream_that_nobody_reads_costs_one_frame_and_the_newest_one_follows() -> None:
    async with running(settings_for()) as server, await open_stream(server.url) as client:
        await client.chunk()
        stream = the_stream(server)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's transports have it
        changes = 0
        while not stream._paused_since:
            changes += 1
            server.parts.hub.dispatch("abc", VERSION + changes)
            assert changes < 100_000, "the kernel takes everything"
            # A busy kernel brings what it has to the other side's buffer a moment later, and then takes more.
            await asyncio.sleep(0.2 if stream._paused_since else 0)
        for later in range(changes + 1, changes + 1001):
            server.parts.hub.dispatch("abc", VERSION + later)
            await asyncio.sleep(0)
        assert len(stream._rest) < 100
        assert stream._frame is not None
        assert stream._frame.version == VERSION + changes + 1000
        assert server.parts.metrics.conflated._value.get() >= 999
        client.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        seen = await client.until(VERSION + changes + 1000)
        assert seen == sorted(seen)
        assert len(seen) <= changes + 1
        await until(lambda: not stream._paused_since, "the end of the pause")
        server.parts.hub.dispatch("abc", VERSION + changes + 1001)
        assert await client.version() == VERSION + changes + 1001


async def test_stream_that_is_paused_at_its_end_still_gets_the_newest_and_the_final_chunk() -> None:
    async with running(settings_for()) as server, await open_stream(server.url) as client:
        await client.chunk()
        stream = the_stream(server)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's transports have it
        changes = 0
        while not stream._paused_since:
            changes += 1
            server.parts.hub.dispatch("abc", VERSION + changes)
            await asyncio.sleep(0)
        server.parts.hub.dispatch("abc", VERSION + changes + 1)
        stream.end(clean=True)
        server.parts.hub.dispatch("abc", VERSION + changes + 2)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        assert b"".join(await client.rest()).count(b"event: ") >= 1
        assert stream._version == LEFT


async def test_change_between_the_request_and_the_hand_off_is_not_lost() -> None:
    async with running(settings_for()) as server:
        streams = [await Answer.to(server.url, stream_path("abc")) for _ in range(20)]
        for later in range(50):
            server.parts.hub.dispatch("abc", VERSION + later)
            streams.append(await Answer.to(server.url, stream_path("abc")))
        for stream in streams:
            await stream.until(VERSION + 49)
            await stream.close()


async def test_without_epoll_a_stream_is_handed_off_on_the_transport_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream_server.server.is_available", lambda: False)
    async with running(settings_for(lifetime=3)) as server, connected(server.url) as client:
        client.send(REQUEST + HEALTH)
        await client.until(b"retry: 2000\n\n")
        assert server.server._front is None
        assert not server.server.server_state.connections
        assert not server.server.server_state.tasks
        server.parts.hub.dispatch("abc", VERSION)
        await client.until(b"environment_updated")
        client.send(REQUEST)
        await client.until(b"\r\n0\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        await client.until(b"}")
        server.parts.hub.dispatch("abc", VERSION + 1)
        assert b"environment_updated" in await client.until(b"retry: 2000\n\n")
        client.writer.close()
        await until(lambda: server.parts.hub.open == 0, "the stream's leaving")


async def test_idle_connections_make_room_for_new_ones() -> None:
    async with (
        running(settings_for(lifetime=3)) as server,
        connected(server.url) as first,
        connected(server.url) as second,
    ):
        for client in (first, second):
            client.send(REQUEST)
            await client.until(b"\r\n0\r\n\r\n")
        front = front_of(server)
        await until(lambda: len(front.resting) == 2, "two idle connections")
        [acceptor] = front._acceptors
        acceptor._ceiling = 3  # whatever is accepted from now on is one too many
        async with connected(server.url) as third:
            third.send(HEALTH)
            assert (await third.head()).startswith(b"HTTP/1.1 200 ")
            assert await first.rest() == b""
            assert not front.resting


async def test_idle_http_connections_make_room_but_not_those_that_are_served_or_have_just_come() -> None:
    async with (
        running(settings_for()) as server,
        connected(server.url) as silent,
        connected(server.url) as answered,
        connected(server.url) as asking,
        open_stream_of(server) as stream,
    ):
        answered.send(HEALTH)
        await answered.until(b"}")
        asking.send(b"GET /health/liveness HTTP/1.1\r\nHost:")
        await asyncio.sleep(IDLE + 0.1)
        async with connected(server.url) as fresh:
            [acceptor] = front_of(server)._acceptors
            acceptor._ceiling = 3  # whatever is accepted from now on is one too many
            async with connected(server.url) as late:
                late.send(HEALTH)
                await late.until(b"}")
                assert await silent.rest() == b""
                assert await answered.rest() == b""
                for client, rest in ((asking, b" x\r\n\r\n"), (fresh, HEALTH)):
                    client.send(rest)
                    assert (await client.head()).startswith(b"HTTP/1.1 200 ")
                server.parts.hub.dispatch("abc", VERSION)
                await stream.until(VERSION)


@asynccontextmanager
async def open_stream_of(server: Running) -> AsyncIterator[Answer]:
    async with await open_stream(server.url) as stream:
        yield stream


async def test_connections_that_fall_idle_make_room_for_those_that_wait_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream_server.server.IDLE", 60)  # the one that was answered is not to be closed instead
    async with running(settings_for(lifetime=3)) as server, connected(server.url) as first:
        first.send(REQUEST)
        await first.until(b"retry: 2000\n\n")
        [acceptor] = front_of(server)._acceptors
        acceptor._ceiling = 3  # whatever is accepted from now on is one too many
        async with connected(server.url) as last, connected(server.url) as waiting:
            last.send(HEALTH)
            assert (await last.head()).startswith(b"HTTP/1.1 200 ")
            waiting.send(HEALTH)
            assert (await waiting.head()).startswith(b"HTTP/1.1 200 ")
            assert (await first.rest()).endswith(b"\r\n0\r\n\r\n"), "only after its stream"


@pytest.mark.parametrize("epoll", [True, False])
async def test_half_closed_client_gets_its_stream_and_the_answer_to_what_it_sent_behind(
    monkeypatch: pytest.MonkeyPatch, epoll: bool
) -> None:
    monkeypatch.setattr("stream_server.server.is_available", lambda: epoll)
    async with running(settings_for(lifetime=3)) as server:
        for at_once in (True, False):
            async with connected(server.url) as client:
                client.send(REQUEST + HEALTH if at_once else REQUEST)
                if not at_once:
                    await client.until(b"retry: 2000\n\n")
                    client.send(HEALTH)
                client.writer.write_eof()
                await client.until(b"\r\n0\r\n\r\n")
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
                await client.until(b'"alive"}')
