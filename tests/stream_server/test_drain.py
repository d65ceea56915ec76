"""How `flagstream serve` stops: by real signals to a real process."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import pytest

from publisher.messages import now
from stream_server.drain import Drain
from stream_server.metrics import Metrics
from tests.servers import NatsServer
from tests.stream_server.raw import (
    Announcer,
    Answer,
    CutError,
    open_stream,
    program,
    running,
    settings_for,
    stream_path,
    until,
)

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_idle_server_stops_when_load_balancers_had_time_to_notice_with_status_0_and_nothing_on_its_log(
    nats_server: NatsServer, tmp_path: Path, sig: signal.Signals
) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=2, lifetime=2, edge="false") as server:
        await server.ready()
        idle = await Answer.to(server.url, "/health/liveness")  # kept alive: no reason to wait
        began = time.monotonic()
        server.signal(sig)
        await until(lambda: server.logged("draining"), "the drain")
        async with await open_stream(server.url) as stream:  # sent by a load balancer that has not looked yet
            assert stream.status == 200
        assert await server.ended() == 0
        assert 0.9 <= time.monotonic() - began < 5
        assert "Traceback" not in server.process.output()
        assert server.logged("stopped")
        await idle.close()


@pytest.mark.parametrize(("seconds", "notice"), [(0, 0), (1, 0.5), (35, 5), (3600, 5)])
async def test_notice_is_half_of_a_short_drain_and_five_seconds_of_a_long_one(seconds: float, notice: float) -> None:
    drain = Drain(seconds, Metrics())
    assert not drain.noticed
    drain.begin()
    assert drain.noticed == (notice == 0)
    assert drain._noticed_at - time.monotonic() == pytest.approx(notice, abs=0.3)
    drain.begin()
    assert drain.noticed, "a second signal waits for nobody"


async def test_connection_is_kept_longer_than_a_proxy_in_front_keeps_it() -> None:
    async with running(settings_for()) as server:
        assert server.server.config.timeout_keep_alive > 65, "nginx and AWS load balancers keep theirs for 60 s or so"


async def test_drain_shorter_than_a_lifetime_is_said_at_the_start(nats_server: NatsServer, tmp_path: Path) -> None:
    with program(tmp_path, nats_url=nats_server.url, drain=1, lifetime=30, edge="false") as server:
        await server.started()
        assert server.logged("a stop ends streams before their time")


async def test_drain_fails_readiness_serves_new_streams_and_ends_all_cleanly_in_time(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    announcer = Announcer(nats_server)
    await announcer.create()
    with program(tmp_path, nats_url=nats_server.url, drain=6, lifetime=4, edge="false") as server:
        await server.ready()
        old = await open_stream(server.url)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        await until(lambda: server.logged("draining"), "the drain")
        async with await Answer.to(server.url, "/health/readiness") as answer:
            assert answer.status == 503
            assert (await answer.json())["reasons"] == ["this process is stopping"]
        async with await Answer.to(server.url, "/health/liveness") as answer:
            assert answer.status == 200
        new = await open_stream(server.url)
        assert 2 <= float(new.headers["x-stream-lifetime"]) <= 4
        version = now()
        await announcer.announce(version)
        assert version in await old.until(version)
        assert version in await new.until(version)
        await asyncio.gather(old.rest(), new.rest())
        own_end = float(old.headers["x-stream-lifetime"])
        assert time.monotonic() - began >= own_end - 0.5, "the old stream reached its own end"
        assert await server.ended() == 0
        assert time.monotonic() - began < 6
        await old.close()
        await new.close()


async def test_what_is_open_when_the_drain_is_over_is_ended_cleanly_without_an_edge(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=1, lifetime=30, edge="false") as server:
        await server.ready()
        streams = await asyncio.gather(*(open_stream(server.url) for _ in range(50)))
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        for stream in streams:
            await stream.rest()
            await stream.close()
        assert time.monotonic() - began >= 0.9
        assert await server.ended() == 0
        assert time.monotonic() - began < 3


async def test_streams_reach_their_own_ends_behind_an_edge(nats_server: NatsServer, tmp_path: Path) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=7, lifetime=2) as server:
        await server.ready()
        streams = await asyncio.gather(*(open_stream(server.url) for _ in range(50)))
        server.signal(signal.SIGTERM)
        for stream in streams:
            await stream.rest()
            await stream.close()
        assert await server.ended() == 0


async def test_second_signal_stops_at_once_and_cuts_behind_an_edge(nats_server: NatsServer, tmp_path: Path) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=65, lifetime=60) as server:
        await server.ready()
        async with await open_stream(server.url) as stream:
            server.signal(signal.SIGTERM)
            await until(lambda: server.logged("draining"), "the drain")
            began = time.monotonic()
            server.signal(signal.SIGINT)
            with pytest.raises(CutError):  # behind an edge: a clean end that comes too early would be replayed
                await stream.rest()
            assert await server.ended() == 0
            assert time.monotonic() - began < 3


async def test_connections_in_the_accept_queue_are_answered_before_the_socket_closes(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=0, edge="false") as server:
        await server.ready()
        host, _, port = server.url.removeprefix("http://").partition(":")
        server.signal(signal.SIGSTOP)  # what connects now waits in the queue
        waiting = [socket.create_connection((host, int(port))) for _ in range(200)]
        for client in waiting:
            client.sendall(f"GET {stream_path('abc')} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert await server.ended() == 0
        for client in waiting:
            client.settimeout(5)
            answer = b""
            while part := client.recv(65536):
                answer += part
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert answer.endswith(b"0\r\n\r\n")
            client.close()


async def test_address_that_is_taken_is_said_in_one_line_with_status_1(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, program(tmp_path, port=taken.getsockname()[1], nats_url="nats://127.0.0.1:9") as server:
        assert await server.ended() == 1
        assert server.logged("cannot listen")
        assert "Traceback" not in server.process.output()
