"""The shell over real TCP: every way a stream can go wrong is told to the state machine as what it was."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
import pytest

from sdk_client import Backoff
from sdk_client.connection import Action, Connection, Ended, Live, Received
from sdk_client.decoder import Event
from sdk_client.streaming import Driver
from sdk_client.versions import event_version
from tests.sdk_client.scripted import KEY, V1, V2, V3, Peer, Script, ScriptedServer, answers, cuts, event, follow

QUICK = Backoff(base=0.01, cap=0.05, least=0.05)


class Recorder:
    """Keeps what the machine has to say beyond opening and closing; `queue` holds it in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Live | int | Ended] = asyncio.Queue()

    def hear(self, action: Action) -> None:
        match action:
            case Received(item=Event(data=data)):
                self.queue.put_nowait(event_version(data))
            case Live() | Ended():
                self.queue.put_nowait(action)

    async def next(self) -> Live | int | Ended:
        async with asyncio.timeout(30):
            return await self.queue.get()

    async def next_end(self) -> Ended:
        while True:
            heard = await self.next()
            if isinstance(heard, Ended):
                return heard

    async def next_live(self) -> Live:
        while True:
            heard = await self.next()
            if isinstance(heard, Live):
                return heard


@asynccontextmanager
async def following(
    server: ScriptedServer, *, backoff: Backoff = QUICK, heartbeat: float = 15.0, open_timeout: float = 10.0
) -> AsyncIterator[Recorder]:
    connection = Connection(random=Random(1), backoff=backoff, heartbeat=heartbeat, open_timeout=open_timeout)
    recorder = Recorder()

    async def drive(http: httpx.AsyncClient) -> None:
        async with asyncio.TaskGroup() as tasks:
            url = f"{server.url}/sse/environments/{KEY}/stream"
            driver = Driver(http, connection, recorder.hear, tasks, url=url)
            driver.do(connection.start(asyncio.get_running_loop().time()))
            await driver.run()

    async with httpx.AsyncClient(max_redirects=5) as http:
        task = asyncio.ensure_future(drive(http))
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
        (cuts, "Error"),
        (empty, "ended after"),
        (cut_after_one, "Error"),
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
        (answers(301, Location=f"/sse/environments/{KEY}/stream"), "TooManyRedirects"),
        (answers(302, Location="gopher://elsewhere/"), "UnsupportedProtocol"),
        (answers(307, Location="http://127.0.0.1:port/"), "RemoteProtocolError"),
        (answers(200, b"", Content_Type="text/event-stream"), "ended after"),
    ],
    ids=lambda value: getattr(value, "__qualname__", None) or str(value),
)
async def test_every_fault_is_an_error_that_backs_off_and_the_next_stream_is_followed(
    fault: Script, reason: str
) -> None:
    loops = 6 if reason == "TooManyRedirects" else 1
    async with ScriptedServer([*[fault] * loops, follow], version=V2) as server, following(server) as heard:
        ended = await heard.next_end()
        assert ended.end.is_error
        assert ended.failures == 1
        assert ended.wait is not None
        assert ended.wait >= 0.05
        assert reason in ended.end.reason
        assert KEY not in ended.end.reason, "reasons are logged, keys are not"
        assert isinstance(await heard.next(), Live)
        assert await heard.next() == V2
        server.announce(V3)
        assert await heard.next() == V3
        assert {request.path for request in server.requests} == {f"/sse/environments/{KEY}/stream"}
        assert not any(request.query for request in server.requests)
        assert len(server.streams) == loops + 1


@pytest.mark.asyncio
async def test_a_refused_connection_is_tried_again_until_the_server_is_there() -> None:
    server = ScriptedServer()
    await server.listen()
    await server.close()
    async with following(server) as heard:
        assert (await heard.next_end()).failures == 1
        assert (await heard.next_end()).failures == 2
        await server.listen()
        await heard.next_live()
        assert await heard.next() == V1
    await server.close()


@pytest.mark.asyncio
async def test_the_next_stream_is_live_before_the_old_one_is_left_and_nothing_is_missed_in_between() -> None:
    heard_on_the_old_one = asyncio.Event()

    async def last_of_its_kind(peer: Peer) -> None:
        await peer.head(X_Stream_Lifetime="3", X_Stream_Join_Window="0")
        await peer.event(V1)
        while len(peer.server.streams) == 1:
            await asyncio.sleep(0.01)
        await peer.event(V2)  # announced while the next one is being opened
        await peer.hold()

    async def slow_to_open(peer: Peer) -> None:
        await heard_on_the_old_one.wait()
        await follow(peer)

    async with ScriptedServer([last_of_its_kind, slow_to_open]) as server, following(server) as heard:
        first = await heard.next_live()
        assert await heard.next() == V1
        assert await heard.next() == V2, "on the old one"
        heard_on_the_old_one.set()
        second = await heard.next_live()
        ended = await heard.next_end()
        assert ended.stream == first.stream
        assert ended.end.kind.value == "replaced"
        assert 1 <= ended.end.lived < 4, "not before its join window was over, not after its end"
        server.announce(V3)
        while await heard.next() != V3:
            pass
        assert second.stream == 2
        assert len(server.streams) == 2


@pytest.mark.asyncio
async def test_a_redirect_is_followed() -> None:
    moved = answers(307, Location=f"/sse/environments/{KEY}/stream")
    async with ScriptedServer([moved, follow]) as server, following(server) as heard:
        await heard.next_live()
        assert await heard.next() == V1


@pytest.mark.asyncio
async def test_a_clean_end_of_a_stream_that_lived_is_no_error() -> None:
    is_live = asyncio.Event()

    async def short_life(peer: Peer) -> None:
        await peer.head()
        await peer.event(V1)
        await is_live.wait()  # by the client's clock, which is the one that counts
        await asyncio.sleep(1.05)
        await peer.end()

    async with ScriptedServer([short_life, follow]) as server, following(server) as heard:
        await heard.next_live()
        is_live.set()
        ended = await heard.next_end()
        assert not ended.end.is_error
        assert ended.wait is not None
        assert 0 <= ended.wait <= 2
        assert isinstance(await heard.next(), Live)


@pytest.mark.asyncio
async def test_a_silent_stream_is_left_after_three_heartbeats() -> None:
    async def stall(peer: Peer) -> None:
        await peer.head()
        await peer.event(V1)
        await peer.hold()

    async with ScriptedServer([stall, follow]) as server, following(server, heartbeat=0.1) as heard:
        ended = await heard.next_end()
        assert ended.end.reason == "the stream fell silent"
        assert ended.end.lived >= 0.3
        assert isinstance(await heard.next(), Live)


@pytest.mark.asyncio
async def test_heartbeats_keep_a_quiet_stream_open() -> None:
    done = asyncio.Event()

    async def quiet(peer: Peer) -> None:
        await peer.head()
        for _ in range(18):
            await peer.send(b": ping\n\n")
            await asyncio.sleep(0.1)
        await peer.event(V1)
        await done.wait()

    async with ScriptedServer([quiet, follow]) as server, following(server, heartbeat=0.5) as heard:
        await heard.next_live()
        assert await heard.next() == V1, "after 1.8 s, well beyond three heartbeats of 0.5 s"
        assert len(server.streams) == 1
        done.set()


@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_left() -> None:
    async def mute(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer([mute, follow]) as server, following(server, open_timeout=0.2) as heard:
        assert (await heard.next_end()).end.reason == "the server did not answer in time"
        await heard.next_live()  # not always the very next one: 0.2 s may be too short for that as well


@pytest.mark.asyncio
async def test_events_split_over_packets_arrive_whole() -> None:
    async def drip(peer: Peer) -> None:
        await peer.head()
        for byte in b"\xef\xbb\xbf" + event(V1).replace(b"\n", b"\r\n") + event(V2):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await peer.hold()

    async with ScriptedServer([drip]) as server, following(server) as heard:
        await heard.next_live()
        assert [await heard.next() for _ in range(2)] == [V1, V2]


@pytest.mark.asyncio
async def test_nothing_but_the_path_and_the_accepted_type_tells_one_client_from_another() -> None:
    async with ScriptedServer([empty, follow]) as server, following(server) as heard:
        await heard.next_end()
        await heard.next_live()
    for request in server.streams:
        assert request.headers["accept"] == "text/event-stream"
        assert request.headers["accept-encoding"] == "identity"
        assert not request.headers.keys() & {"last-event-id", "cookie", "authorization", "x-environment-key"}


@pytest.mark.asyncio
async def test_instant_ends_never_become_a_storm() -> None:
    backoff = Backoff(base=0.01, least=0.3)
    async with ScriptedServer([empty]) as server, following(server, backoff=backoff) as heard:
        for _ in range(4):
            await heard.next_end()
    apart = [b.at - a.at for a, b in itertools.pairwise(server.streams)]
    assert len(apart) >= 3
    assert min(apart) >= 0.29
