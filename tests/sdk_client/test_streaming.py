"""The shell over real TCP: every way a stream can go wrong is told to the state machine as what it was."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
import pytest

from sdk_client import Backoff
from sdk_client.connection import Connection, Wait
from sdk_client.streaming import Follower
from tests.sdk_client.scripted import KEY, V1, V2, V3, Peer, Script, ScriptedServer, answers, cuts, event, follow

QUICK = Backoff(base=0.01, cap=0.05, least=0.05)


class Recorder:
    """A listener that keeps what it hears; `queue` holds it in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | int | Wait] = asyncio.Queue()

    def on_live(self) -> None:
        self.queue.put_nowait("live")

    def on_version(self, version: int) -> None:
        self.queue.put_nowait(version)

    def on_end(self, wait: Wait) -> None:
        self.queue.put_nowait(wait)

    async def next(self) -> str | int | Wait:
        async with asyncio.timeout(10):
            return await self.queue.get()

    async def next_wait(self) -> Wait:
        while True:
            heard = await self.next()
            if isinstance(heard, Wait):
                return heard


@asynccontextmanager
async def following(
    server: ScriptedServer, *, backoff: Backoff = QUICK, heartbeat: float = 15.0, open_timeout: float = 10.0
) -> AsyncIterator[Recorder]:
    connection = Connection(random=Random(1), backoff=backoff, heartbeat=heartbeat, open_timeout=open_timeout)
    recorder = Recorder()
    async with httpx.AsyncClient() as http:
        url = f"{server.url}/sse/environments/{KEY}/stream"
        clock = asyncio.get_running_loop().time
        task = asyncio.ensure_future(Follower(http, url, connection, recorder, clock).run())
        yield recorder
        assert not task.done(), "it never ends by itself"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def empty(peer: Peer) -> None:
    await peer.head()
    await peer.end()


async def cut_after_one(peer: Peer) -> None:
    await peer.head()
    await peer.event(V1)
    await asyncio.sleep(0.01)
    await peer.cut()


async def closed_without_final_chunk(peer: Peer) -> None:
    await peer.head()
    await peer.event(V1)
    peer._writer.close()


async def half_a_head(peer: Peer) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nContent-")
    peer._writer.close()


async def garbage(peer: Peer) -> None:
    await peer.raw(b"\x00\x01\x02 this is no HTTP \r\n\r\n")
    peer._writer.close()


async def endless_line(peer: Peer) -> None:
    await peer.head()
    while True:
        await peer.send(b"x" * 8192)


async def wrong_type(peer: Peer) -> None:
    await peer.head(content_type="text/html")
    await peer.hold()


async def bad_gzip(peer: Peer) -> None:
    await peer.head(Content_Encoding="gzip")
    await peer.send(b"data: a\n\n")
    await peer.hold()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (cuts, ""),
        (empty, "ended after 0.0"),
        (cut_after_one, ""),
        (closed_without_final_chunk, "incomplete chunked read"),
        (half_a_head, "RemoteProtocolError"),
        (garbage, "RemoteProtocolError"),
        (endless_line, "a line of the stream is longer than 65536 bytes"),
        (wrong_type, "answered with text/html"),
        (bad_gzip, "DecodingError"),
        (answers(500), "answered 500"),
        (answers(503, Retry_After="0"), "answered 503"),
        (answers(404, b"{}"), "answered 404"),
        (answers(204), "answered 204"),
        (answers(301, Location="/elsewhere"), "answered 301"),
        (answers(200, b"", Content_Type="text/event-stream"), "ended after 0.0"),
    ],
    ids=lambda value: getattr(value, "__qualname__", None) or str(value),
)
async def test_every_fault_is_an_error_that_backs_off_and_the_next_stream_is_followed(
    fault: Script, reason: str
) -> None:
    async with ScriptedServer([fault, follow], version=V2) as server, following(server) as heard:
        wait = await heard.next_wait()
        assert wait.end.is_error
        assert wait.failures == 1
        assert wait.seconds >= 0.05
        assert reason in wait.end.reason
        assert KEY not in wait.end.reason, "reasons are logged, keys are not"
        assert await heard.next() == "live"
        assert await heard.next() == V2
        server.announce(V3)
        assert await heard.next() == V3
        assert {request.path for request in server.requests} == {f"/sse/environments/{KEY}/stream"}
        assert not any(request.query for request in server.requests)


@pytest.mark.asyncio
async def test_a_refused_connection_is_tried_again_until_the_server_is_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sdk_client")
    server = ScriptedServer()
    await server.listen()
    await server.close()
    async with following(server) as heard:
        assert (await heard.next_wait()).failures == 1
        assert (await heard.next_wait()).failures == 2
        await server.listen()
        while await heard.next() != "live":
            pass
        assert await heard.next() == V1
    await server.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "sdk_client"]
    assert len(lines) == 2, "one when it goes, one when it is back"
    assert lines[0].startswith("the flag stream is down (ConnectError")
    assert lines[1] == "the flag stream is back"


@pytest.mark.asyncio
async def test_a_clean_end_of_a_stream_that_lived_is_no_error_and_nothing_to_warn_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def short_life(peer: Peer) -> None:
        await peer.head()
        await peer.event(V1)
        await asyncio.sleep(1.05)
        await peer.end()

    async with ScriptedServer([short_life, follow]) as server, following(server) as heard:
        wait = await heard.next_wait()
        assert not wait.end.is_error
        assert 0 <= wait.seconds <= 2
        assert await heard.next() == "live"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.asyncio
async def test_a_silent_stream_is_left_after_three_heartbeats() -> None:
    async def stall(peer: Peer) -> None:
        await peer.head()
        await peer.event(V1)
        await peer.hold()

    async with ScriptedServer([stall, follow]) as server, following(server, heartbeat=0.1) as heard:
        wait = await heard.next_wait()
        assert wait.end.reason == "the stream fell silent"
        assert wait.end.lived >= 0.3
        assert await heard.next() == "live"


@pytest.mark.asyncio
async def test_heartbeats_keep_a_quiet_stream_open() -> None:
    done = asyncio.Event()

    async def quiet(peer: Peer) -> None:
        await peer.head()
        for _ in range(12):
            await peer.send(b": ping\n\n")
            await asyncio.sleep(0.1)
        await peer.event(V1)
        await done.wait()

    async with ScriptedServer([quiet, follow]) as server, following(server, heartbeat=0.25) as heard:
        assert await heard.next() == "live"
        assert await heard.next() == V1, "after 1.2 s, well beyond three heartbeats of 0.25 s"
        assert len(server.streams) == 1
        done.set()


@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_left() -> None:
    async def mute(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer([mute, follow]) as server, following(server, open_timeout=0.2) as heard:
        assert (await heard.next_wait()).end.reason == "the server did not answer in time"
        assert await heard.next() == "live"


@pytest.mark.asyncio
async def test_events_split_over_packets_arrive_whole() -> None:
    async def drip(peer: Peer) -> None:
        await peer.head()
        for byte in b"\xef\xbb\xbf" + event(V1).replace(b"\n", b"\r\n") + event(V2):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await peer.hold()

    async with ScriptedServer([drip]) as server, following(server) as heard:
        assert [await heard.next() for _ in range(3)] == ["live", V1, V2]


@pytest.mark.asyncio
async def test_nothing_but_the_path_and_the_accepted_type_tells_one_client_from_another() -> None:
    async with ScriptedServer([empty, follow]) as server, following(server) as heard:
        await heard.next_wait()
        while await heard.next() != "live":
            pass
    for request in server.streams:
        assert request.headers["accept"] == "text/event-stream"
        assert request.headers["accept-encoding"] == "identity"
        assert not request.headers.keys() & {"last-event-id", "cookie", "authorization", "x-environment-key"}


@pytest.mark.asyncio
async def test_instant_ends_never_become_a_storm() -> None:
    async with ScriptedServer([empty]) as server, following(server, backoff=Backoff(base=0.01)) as heard:
        for _ in range(3):
            await heard.next_wait()
    apart = [b.at - a.at for a, b in itertools.pairwise(server.streams)]
    assert all(gap >= 0.99 for gap in apart)
