"""The waiting room: where clients are while no stream server answers, and how they leave when one is back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from publisher.messages import now
from stream_server.drain import Drain
from stream_server.feed import FIRST_SAY
from stream_server.lifetimes import Life, Lifetimes
from stream_server.listening import bind, url_of
from stream_server.metrics import Metrics
from stream_server.origins import Origins, is_ready
from stream_server.server import Server
from stream_server.settings import StreamServerSettings
from stream_server.waiting_room import Lives, WaitingRoom
from tests.programs import COMMAND, environment
from tests.servers import NatsServer, free_port, json_lines
from tests.stream_server.raw import (
    Announcer,
    Answer,
    CutError,
    Program,
    open_stream,
    program,
    settings_for,
    stream_path,
    until,
)

pytestmark = pytest.mark.asyncio

NOTHING = "http://127.0.0.1:9"
OLD_ENOUGH = 3.0
"""Seconds after which a stream may end early: a join window of 1 s, 1 s, and 1 s for one tier."""

ALIASES = ["/sse/environments/abc/stream", "/sse/abc/stream", "//sse/environments/abc/stream/", "/sse/a.b%20c/stream"]


@contextmanager
def room(folder: Path, *origins: str, **settings: Any) -> Iterator[Program]:
    """A waiting room as a process, with nothing else there: no broker, no upstream, no Redis."""
    away = {"nats_url": "nats://127.0.0.1:9", "upstream_url": NOTHING, "redis_url": "redis://127.0.0.1:9/0"}
    folder.mkdir(exist_ok=True)
    chosen = {**away, "waiting_room": "true", "waiting_for": ",".join(origins), "edge": "false", **settings}
    with program(folder, **chosen) as running:
        yield running


@asynccontextmanager
async def here(settings: StreamServerSettings) -> AsyncIterator[tuple[WaitingRoom, str]]:
    """A waiting room in this very process."""
    settings = settings.of_waiting_room()
    [listener] = bind("127.0.0.1", 0, 1)
    waiting = WaitingRoom(settings)
    server = Server(waiting.app(), settings, hub=waiting.engine.hub, drain=waiting.engine.drain)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started, "the start")
        yield waiting, url_of(listener)
    finally:
        server.stop()
        server.stop()
        await task


def waiting_settings(*origins: str, **changes: Any) -> StreamServerSettings:
    return settings_for(waiting_room=True, waiting_for=origins, **changes)


async def age_at_the_end(stream: Answer) -> float:
    """Read `stream` from its head to its clean end; return how old it was."""
    began = time.monotonic()
    await stream.rest()
    return time.monotonic() - began


def lives(*, ready: bool = False, draining: float | None = None, **changes: Any) -> list[Life]:
    settings = waiting_settings(NOTHING, **changes).of_waiting_room()
    drain = Drain(draining or 0.0, Metrics())
    if draining is not None:
        drain.begin()
    origins = Origins([NOTHING], CollectorRegistry())
    if ready:
        origins.returned.set()
    given = Lives(Lifetimes(settings, drain), origins, settings.shortest_stream)
    return [give() for give in (given.new, given.overload) for _ in range(100)]


async def test_it_is_ready_at_once_with_everything_else_away(tmp_path: Path) -> None:
    with room(tmp_path, control_key="operations", nats_credentials="/no/such/file") as waiting:
        await waiting.started()
        began = time.monotonic()
        async with await Answer.to(waiting.url, "/health/readiness") as answer:
            assert await answer.json() == {"status": "ready", "reasons": [], "waiting_room": True}
        assert time.monotonic() - began < FIRST_SAY, "a stream server waits so long for its broker"
        async with await Answer.to(waiting.url, "/health/liveness") as answer:
            assert answer.status == 200
        assert len(waiting.logged("this is a waiting room: streams live for seconds and tell nothing")) == 1
        assert not [line for line in json_lines(waiting.process.output()) if line["level"] not in {"info", "debug"}]


async def test_every_key_and_alias_gets_a_real_stream_that_beats_tells_nothing_and_ends_cleanly() -> None:
    async def visit(url: str, path: str) -> None:
        began = time.monotonic()
        async with await Answer.to(url, path) as stream:
            assert stream.status == 200
            assert stream.headers["cache-control"] == "public, max-age=0, s-maxage=1"
            assert stream.headers["surrogate-control"] == "max-age=1"
            assert 3 <= float(stream.headers["x-stream-lifetime"]) <= 4
            assert "surrogate-key" not in stream.headers
            assert await stream.rest() == [b"retry: 1000\n\n", b": ping\n\n"]
            assert time.monotonic() - began >= float(stream.headers["x-stream-lifetime"]) - 0.05

    async with here(waiting_settings(lifetime=4)) as (_, url):
        await asyncio.gather(*(visit(url, path) for path in ALIASES))


async def test_lives_are_random_from_five_to_ten_seconds_and_never_above_the_lifetime() -> None:
    given = lives()
    assert all(5 <= life.seconds <= 10 for life in given)
    assert len({life.seconds for life in given}) > 50
    assert {(life.join_window, life.retry) for life in given} == {(1, 1000)}
    assert all(3.5 <= life.seconds <= 7 for life in lives(lifetime=7, retry=30))


@pytest.mark.parametrize("tiers", [1, 2, 4])
@pytest.mark.parametrize("lifetime", [6, 30])
async def test_join_window_lies_a_second_and_one_a_tier_before_the_end(tiers: int, lifetime: float) -> None:
    for ready in (False, True):
        given = lives(ready=ready, edge_tiers=tiers, lifetime=lifetime)
        assert all(life.join_window == 1 and life.seconds >= 2 + tiers for life in given)


async def test_streams_are_as_short_as_may_be_while_an_origin_is_ready() -> None:
    assert {life.seconds for life in lives(ready=True)} == {3.0}
    assert {life.seconds for life in lives(ready=True, edge_tiers=2)} == {4.0}


async def test_stream_of_a_drain_ends_within_it() -> None:
    assert all(life.seconds < 6 for life in lives(draining=6))
    assert all(life.seconds < 2 for life in lives(draining=2, ready=True))


async def test_other_methods_and_paths_are_answered_as_an_edge_may_pass_them_on() -> None:
    async with here(waiting_settings()) as (_, url), httpx.AsyncClient(base_url=url) as client:
        head = await client.head(stream_path("abc"))
        assert (head.status_code, head.headers["surrogate-control"]) == (200, "max-age=1")
        assert (await client.options(stream_path("abc"))).headers["access-control-allow-origin"] == "*"
        refused = await client.post(stream_path("abc"))
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        for method, path in (("GET", "flags/"), ("POST", "identities/"), ("GET", "environment-document/?v=1")):
            answer = await client.request(method, f"/api/v1/{path}", headers={"X-Environment-Key": "abc"})
            assert answer.status_code == 503
            assert "waiting room" in answer.json()["detail"]
            assert "no-store" in answer.headers["cache-control"]
            assert answer.headers["access-control-allow-origin"] == "*"
        assert (await client.post("/ofrep/v1/evaluate/flags")).status_code == 503
        preflight = await client.options("/api/v1/flags/")
        assert preflight.status_code == 204
        assert "X-Environment-Key" in preflight.headers["access-control-allow-headers"]
        for path in ("/", "/sse/environments/abc/queue-change", "/admin"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
            assert answer.json()["detail"]


async def test_a_room_that_is_full_answers_with_the_same_streams() -> None:
    async with (
        here(waiting_settings(max_streams=1)) as (waiting, url),
        await open_stream(url),
        await open_stream(url) as second,
    ):
        assert second.headers["surrogate-control"] == "max-age=1"
        assert await second.chunk() == b"retry: 1000\n\n"
        assert waiting.engine.admission.refused_open == 1


async def test_client_that_comes_back_at_once_makes_one_request_in_five_seconds_at_most() -> None:
    async with here(waiting_settings()) as (_, url):
        asked = time.monotonic()
        streams = await asyncio.gather(*(open_stream(url) for _ in range(300)))
        ends = [asyncio.create_task(stream.rest()) for stream in streams]
        _, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        assert time.monotonic() - asked >= 5, "the shortest of 300 lives"
        assert waiting, "they do not end together"
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        await asyncio.gather(*(stream.close() for stream in streams))


async def test_thousands_of_streams_cost_little_and_leave_nothing() -> None:
    async with here(waiting_settings(lifetime=3)) as (waiting, url):
        hub, channels = waiting.engine.hub, 0
        opening = asyncio.gather(*(open_stream(url, f"key-{number}") for number in range(2000)))
        while not opening.done():
            channels = max(channels, len(hub._channels))
            await asyncio.sleep(0)
        streams = await opening
        assert waiting.engine.metrics.streams_opened.total == 2000
        assert 0 < channels < 200, "they are kept by when they opened, not by environment"
        await asyncio.gather(*(stream.rest() for stream in streams))
        await until(lambda: hub.open == 0 and not hub._channels and not waiting._cohorts._open, "an empty room")
        await asyncio.gather(*(stream.close() for stream in streams))


@contextmanager
def origin(folder: Path, nats: NatsServer, port: int) -> Iterator[Program]:
    """A stream server on `port`."""
    folder.mkdir(exist_ok=True)
    with program(folder, nats_url=nats.url, port=port, upstream_url=NOTHING) as server:
        yield server


async def origins_ready(url: str) -> str:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    [line] = [line for line in text.splitlines() if line.startswith("flagstream_origins_ready ")]
    return line.split()[1]


async def test_streams_end_as_soon_as_no_cache_can_replay_them_when_a_stream_server_is_back(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    await Announcer(nats_server).create()
    port = free_port()
    with room(tmp_path / "room", NOTHING, f"http://127.0.0.1:{port}") as waiting:
        await waiting.ready()
        ages: list[tuple[float, float]] = []
        coming = True

        async def wait_here() -> None:
            asked = time.monotonic()
            async with await open_stream(waiting.url) as stream:
                await stream.rest()
                ages.append((time.monotonic() - asked, time.monotonic()))

        async def come() -> list[asyncio.Task[None]]:
            tasks = []
            while coming:
                tasks.append(asyncio.create_task(wait_here()))
                await asyncio.sleep(0.05)
            return tasks

        clients = asyncio.create_task(come())
        with origin(tmp_path / "origin", nats_server, port):
            back = "a stream server is ready: its clients are let go to it"
            await until(lambda: waiting.logged(back), "the return")
            returned = time.monotonic()
            coming = False
            await asyncio.gather(*await clients)
            assert await origins_ready(waiting.url) == "1.0"
            async with await open_stream(waiting.url) as late:
                assert late.headers["x-stream-lifetime"] == "3"
        assert min(age for age, _ in ages) >= OLD_ENOUGH - 0.05, "a younger one would be replayed"
        # What was open at the return has gone when the youngest is old enough; a busy machine takes seconds more.
        assert max(ended for _, ended in ages) <= returned + OLD_ENOUGH + 4, "of lives of up to ten"
        assert len(waiting.logged(back)) == 1


async def test_beside_an_edge_that_replays_nothing_everybody_is_let_go_at_once() -> None:
    port = free_port()
    settings = waiting_settings(f"http://127.0.0.1:{port}", edge_guard=True)

    async def be_ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"status":"ready"}')
        writer.close()

    async with here(settings) as (_, url), AsyncExitStack() as open_ones:
        streams = [await open_ones.enter_async_context(await open_stream(url)) for _ in range(5)]
        assert {stream.headers["x-flagstream-waiting"] for stream in streams} == {"1"}
        async with await asyncio.start_server(be_ready, "127.0.0.1", port):
            ages = await asyncio.gather(*[age_at_the_end(stream) for stream in streams])
    assert max(ages) < OLD_ENOUGH, "behind another edge they would have to be older"


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [(signal.SIGKILL, None), (signal.SIGSTOP, signal.SIGCONT), (signal.SIGTERM, None)],
    ids=["killed", "frozen", "stopped"],
)
async def test_a_stream_server_that_goes_is_seen_and_so_is_its_return(
    tmp_path: Path, nats_server: NatsServer, leave: signal.Signals, come_back: signal.Signals | None
) -> None:
    await Announcer(nats_server).create()
    port = free_port()
    gone, back = (
        "no stream server is ready: clients wait here",
        "a stream server is ready: its clients are let go to it",
    )
    with origin(tmp_path / "origin", nats_server, port) as server:
        await server.ready()
        with room(tmp_path / "room", f"http://127.0.0.1:{port}") as waiting:
            await waiting.ready()
            await until(lambda: waiting.logged(back), "the first look")
            server.signal(leave)
            await until(lambda: waiting.logged(gone), "its going")
            assert await origins_ready(waiting.url) == "0.0"
            async with await open_stream(waiting.url) as stream:
                assert float(stream.headers["x-stream-lifetime"]) >= 5
            if come_back is not None:
                server.signal(come_back)
            else:
                if leave is signal.SIGTERM:
                    server.signal(leave)  # the drain is not what is looked at here
                await server.ended()
                server.process.start()
            await until(lambda: len(waiting.logged(back)) >= 2, "its return")


async def test_a_server_that_answers_nothing_does_not_delay_the_look_at_another() -> None:
    swallowed = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal swallowed
        swallowed += 1
        try:
            await reader.read()
        finally:
            writer.close()

    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                answered += 1
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    speaking = await asyncio.start_server(answer, "127.0.0.1", 0)
    origins = Origins([url_of(each.sockets[0]) for each in (silent, speaking)], CollectorRegistry())
    task = asyncio.create_task(origins.run())
    try:
        await until(lambda: swallowed > 0 and answered >= swallowed + 10, "ten more looks at the one that answers")
        assert not origins.ready
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        silent.close()
        speaking.close()


async def test_another_waiting_room_is_no_stream_server() -> None:
    async with here(waiting_settings()) as (_, url), httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/health/readiness")).is_success
        assert not await is_ready(client, f"{url}/health/readiness")


async def test_a_drain_lets_every_stream_reach_its_own_end(tmp_path: Path) -> None:
    with room(tmp_path, lifetime=3, drain=8) as waiting:
        await waiting.ready()
        old = await open_stream(waiting.url)
        waiting.signal(signal.SIGTERM)
        await until(lambda: waiting.logged("draining"), "the drain")
        async with await Answer.to(waiting.url, "/health/readiness") as answer:
            assert answer.status == 503
        new = await open_stream(waiting.url)
        for stream in (old, new):
            assert await age_at_the_end(stream) < 8
            await stream.close()
        assert await waiting.ended() == 0


async def test_a_second_signal_cuts_so_that_no_cache_takes_it_for_an_end(tmp_path: Path) -> None:
    with room(tmp_path) as waiting:
        await waiting.ready()
        async with await open_stream(waiting.url) as stream:
            waiting.signal(signal.SIGTERM)
            await until(lambda: waiting.logged("draining"), "the drain")
            waiting.signal(signal.SIGINT)
            with pytest.raises(CutError):
                await stream.rest()
        assert await waiting.ended() == 0


async def test_workers_and_reload_are_those_of_the_stream_server(tmp_path: Path) -> None:
    with room(tmp_path, workers=2) as waiting:
        await waiting.ready()
        before = waiting.children()
        assert len(before) == 2
        waiting.signal(signal.SIGHUP)
        await until(lambda: waiting.logged("reloaded"), "the reload")
        await until(lambda: not set(before) & set(waiting.children()), "the end of those that were replaced")
        assert len(waiting.children()) == 2
        async with await open_stream(waiting.url) as stream:
            assert await stream.chunk() == b"retry: 1000\n\n"


async def test_options_of_the_command_line_are_the_settings() -> None:
    options = ["--waiting-room", "--waiting-for", "http://a:1", "--waiting-for", "http://b:2", "--check"]
    checked = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", *options, stdout=asyncio.subprocess.PIPE, env=environment()
    )
    out, _ = await checked.communicate()
    assert checked.returncode == 0
    assert "waiting_room = True\nwaiting_for = ['http://a:1', 'http://b:2']\n" in out.decode()


async def test_versions_are_of_no_interest_here(tmp_path: Path, nats_server: NatsServer) -> None:
    announcer = Announcer(nats_server)
    await announcer.create()
    await announcer.announce(now())
    with room(tmp_path, nats_url=nats_server.url) as waiting:
        await waiting.ready()
        async with await open_stream(waiting.url) as stream:
            await announcer.announce(now())
            assert [await stream.chunk() for _ in range(2)] == [b"retry: 1000\n\n", b": ping\n\n"]
