"""What clients send that no client should, byte by byte: it costs the others nothing and fills no log."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from flagstream.protocol import HEAD_LIMIT, HttpProtocol
from stream_server.settings import StreamServerSettings
from tests.stream_server.connections import connected, flood, noise
from tests.stream_server.raw import PATIENCE, Running, open_stream, running, settings_for, stream_path

pytestmark = pytest.mark.asyncio

VERSION = 1735229888760123
STREAM = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
HEALTH = b"GET /health/liveness HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/v1/identities/ HTTP/1.1\r\nHost: x\r\nX-Environment-Key: abc\r\n"


def settings(**changes: Any) -> StreamServerSettings:
    """Return settings with short times, among which a drain as long as a lifetime is no mistake."""
    return settings_for(**{"drain": 60.0, **changes})


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client does is worth a line at WARNING, least of all a traceback."""
    yield
    assert not noise(caplog)


async def gone(server: Running) -> None:
    """Wait until the server has forgotten every connection."""
    async with asyncio.timeout(PATIENCE):
        while server.server.server_state.connections or server.server.server_state.tasks or server.parts.hub.open:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "start",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\nX",
        b"\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=",
    ],
    ids=["url", "value", "name", "empty-lines", "trailer", "chunk-extension"],
)
async def test_an_endless_head_is_refused_within_its_limit(start: bytes) -> None:
    async with running(settings()) as server, connected(server.url) as client:
        filler = b"\r\n" if start == b"\r\n" else b"a"
        client.send(start + filler * 6 * HEAD_LIMIT)  # more than one read of the server
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 431 "), answer[:100]
        assert b"\r\nconnection: close\r\n" in answer
        await gone(server)


async def test_many_headers_in_one_piece_are_refused_and_as_many_as_fit_are_not() -> None:
    line = b"X-A: " + b"b" * 93 + b"\r\n"
    async with running(settings()) as server:
        for lines, status in ((HEAD_LIMIT // 100 + 1, b"431"), (HEAD_LIMIT // 100 - 1, b"200")):
            async with connected(server.url) as client:
                client.send(HEALTH[:-2] + line * lines + b"\r\n")
                assert (await client.head()).split()[1] == status


async def test_a_body_larger_than_the_limit_of_heads_is_no_head() -> None:
    async with running(settings()) as server, connected(server.url) as client:
        for _ in range(2):
            size = 3 * HEAD_LIMIT
            client.send(f"POST {stream_path('abc')} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode() + b"a" * size)
            assert (await client.until(b'not allowed"}')).startswith(b"HTTP/1.1 405 ")


async def test_a_client_that_sends_on_after_its_refusal_is_cut() -> None:
    async with running(settings()) as server, connected(server.url) as client:
        client.send(b"GET / HTTP/1.1\r\nX: ")
        await flood(client, b"a" * 100_000)
        await gone(server)


@pytest.mark.parametrize("sent", [b"G", HEALTH[:-2], HEALTH[:-1]], ids=["one byte", "some", "all but one"])
async def test_half_a_head_ends_with_408(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(HttpProtocol, "head_time", 0.1)
    async with running(settings()) as server, connected(server.url) as client:
        client.send(sent)
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        await gone(server)


async def test_a_head_that_drips_ends_all_the_same_and_so_does_a_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "head_time", 0.5)
    async with running(settings()) as server, connected(server.url) as client:
        client.send(HEALTH)
        assert (await client.head()).split()[1] == b"200"
        client.send(b"GET / HTTP/1.1\r\nX: ")
        answer = asyncio.create_task(client.rest())
        while not answer.done():
            client.send(b"a")
            await asyncio.sleep(0.02)
        assert b"HTTP/1.1 408 " in await answer
        await gone(server)


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(HttpProtocol, "silence", 0.1)
    async with running(settings()) as server, connected(server.url) as client:
        client.send(sent)
        assert await client.rest() == b""
        await gone(server)


async def test_a_body_that_stops_coming_ends_with_408_and_one_that_comes_slowly_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HttpProtocol, "body_pause", 0.3)
    async with running(settings()) as server:
        async with connected(server.url) as client:
            client.send(POST + b"Content-Length: 20\r\n\r\n{")
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        monkeypatch.setattr(HttpProtocol, "body_pause", 2.0)  # no byte of a busy machine is so late
        async with connected(server.url) as client:
            client.send(POST + b"Content-Length: 20\r\n\r\n{")
            for _ in range(19):
                await asyncio.sleep(0.12)  # longer than the pause in all
                client.send(b" ")
            status = (await client.head()).split()[1]
            assert status not in {b"408", b"200"}, "there is no such environment and no upstream"
        await gone(server)


async def test_no_time_limit_touches_a_running_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("silence", "head_time", "body_pause"):
        monkeypatch.setattr(HttpProtocol, name, 0.5)  # in which a busy machine must read the request
    async with running(settings(heartbeat=0.2)) as server:
        for request in (STREAM, STREAM[:-2] + b"Content-Length: 10\r\n\r\n{"):
            async with connected(server.url) as client:
                client.send(request)
                for _ in range(4):
                    await client.until(b": ping\n\n\r\n")
                assert server.parts.hub.open == 1
            await gone(server)


@pytest.mark.parametrize("behind", [STREAM, HEALTH, HEALTH * 1000, b"GARBAGE\r\n\r\n", b"\x00\xff"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_is_pipelined_behind_a_stream_waits_and_the_stream_ends_with_its_client(
    behind: bytes, at_once: bool
) -> None:
    async with running(settings()) as server:
        versions = itertools.count(VERSION, 1_000_000)
        server.parts.hub.dispatch("abc", next(versions))
        for leave_by_reset in (True, False):
            async with connected(server.url) as client:
                client.send(STREAM + (behind if at_once else b""))
                head = await client.head()
                assert b"\r\nconnection: close\r\n" not in head
                await client.until(b"retry: ")
                await client.until(b"\n\n\r\n")
                if not at_once:
                    client.send(behind)
                server.parts.hub.dispatch("abc", next(versions))
                event = await client.until(b"\n\n\r\n")
                assert b"environment_updated" in event
                assert b"HTTP/1.1" not in event
                assert server.parts.hub.open == 1
                if leave_by_reset:
                    client.reset()
            await gone(server)
            server.parts.hub.dispatch("abc", next(versions))


async def test_a_request_that_waits_behind_a_stream_is_answered_when_that_has_ended() -> None:
    async with running(settings(lifetime=3, heartbeat=1)) as server, connected(server.url) as client:
        other = f"GET {stream_path('other')} HTTP/1.1\r\n\r\n".encode()
        client.send(STREAM + HEALTH + other)
        assert (await client.until(b"\r\n0\r\n\r\n")).count(b"HTTP/1.1") == 1
        assert b"content-length" in await client.head()
        await client.until(b'"alive"}')
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        await client.until(b"retry: 2000\n\n")
        assert server.parts.hub.count("other") == 1


async def test_who_floods_a_connection_behind_its_stream_is_read_no_more_and_stays_a_reader_like_others() -> None:
    async with running(settings(heartbeat=0.2)) as server, connected(server.url) as client:
        client.send(STREAM)
        await client.until(b"retry: 2000\n\n")
        flooding = asyncio.create_task(flood(client, HEALTH * 1000))
        try:
            for later in range(5):
                server.parts.hub.dispatch("abc", VERSION + later)
                await client.until(b"environment_updated")
                await client.until(b": ping\n\n")
            assert not flooding.done(), "it waits: nothing is read"
        finally:
            flooding.cancel()
            client.reset()
            with suppress(asyncio.CancelledError):
                await flooding
        await gone(server)


async def test_http_1_0_gets_its_stream_without_chunks_up_to_the_close() -> None:
    async with running(settings(lifetime=3, heartbeat=0.5)) as server:
        server.parts.hub.dispatch("abc", VERSION)
        for more in (b"", b"Connection: keep-alive\r\n"):
            async with connected(server.url) as client:
                client.send(f"GET {stream_path('abc')} HTTP/1.0\r\n".encode() + more + b"\r\n")
                head = await client.head()
                assert b"transfer-encoding" not in head
                assert b"\r\nconnection: close\r\n" in head
                assert (await client.until(b"\n\n")).startswith(b"event: environment_updated\ndata: {")
                assert await client.until(b"\n\n") == b": ping\n\n"
                assert set((await client.rest()).split(b"\n\n")) <= {b": ping", b""}
        async with connected(server.url) as client:
            client.send(b"GET /health/liveness HTTP/1.0\r\n\r\n")
            answer = await client.rest()
            assert b"\r\ncontent-length: " in answer
        await gone(server)


async def test_a_half_closed_client_gets_its_stream_and_one_that_has_gone_is_noticed() -> None:
    async with running(settings(lifetime=3, heartbeat=20)) as server:
        async with connected(server.url) as client, await open_stream(server.url) as other:
            client.send(STREAM)
            client.writer.write_eof()
            await client.until(b"retry: 2000\n\n")
            server.parts.hub.dispatch("abc", VERSION)
            await client.until(b"environment_updated")
            assert (await client.rest()).endswith(b"\r\n0\r\n\r\n"), "up to its own clean end"
            await other.rest()
        for early in (True, False):
            async with connected(server.url) as client:
                client.send(STREAM)
                if not early:
                    await client.until(b"retry: 2000\n\n")
            await gone(server)


async def test_upgrades_are_answered_in_the_present_protocol() -> None:
    async with running(settings()) as server, connected(server.url) as client:
        for upgrade in (b"websocket", b"h2c"):
            client.send(HEALTH[:-2] + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")
            assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            await client.until(b"}")


@pytest.mark.parametrize(
    "request_",
    [
        b"GARBAGE\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
async def test_malformed_requests_are_refused(request_: bytes) -> None:
    async with running(settings()) as server, connected(server.url) as client:
        client.send(request_)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await gone(server)


async def test_a_malformed_body_ends_the_request() -> None:
    async with running(settings()) as server, connected(server.url) as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await gone(server)
