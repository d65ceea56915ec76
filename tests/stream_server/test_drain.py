"""How `flagstream serve` stops: by real signals to a real process."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import pytest

from publisher.messages import now
from tests.servers import NatsServer
from tests.stream_server.raw import Announcer, Answer, CutError, open_stream, program, stream_path, until

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_idle_server_stops_at_once_with_status_0_and_nothing_on_its_log(
    nats_server: NatsServer, tmp_path: Path, sig: signal.Signals
) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=30) as server:
        await server.ready()
        idle = await Answer.to(server.url, "/health/liveness")  # kept alive: no reason to wait
        began = time.monotonic()
        server.signal(sig)
        assert await server.ended() == 0
        assert time.monotonic() - began < 3
        assert "Traceback" not in server.process.output()
        assert server.logged("stopped")
        await idle.close()


async def test_drain_fails_readiness_serves_new_streams_and_ends_all_cleanly_in_time(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    announcer = Announcer(nats_server)
    await announcer.create()
    with program(tmp_path, nats_url=nats_server.url, drain=6, lifetime=4, join_window=2) as server:
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
        assert time.monotonic() - began >= 3.5, "the old stream reached its own end"
        assert await server.ended() == 0
        assert time.monotonic() - began < 6
        await old.close()
        await new.close()


@pytest.mark.parametrize("edge", [True, False])
async def test_what_is_open_when_the_drain_is_over_is_cut_behind_an_edge_and_else_ended_cleanly(
    nats_server: NatsServer, tmp_path: Path, edge: bool
) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=1, lifetime=30, edge=edge) as server:
        await server.ready()
        streams = await asyncio.gather(*(open_stream(server.url) for _ in range(50)))
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        ends = await asyncio.gather(*(stream.rest() for stream in streams), return_exceptions=True)
        assert all(isinstance(end, CutError) == edge for end in ends)
        assert time.monotonic() - began >= 0.9
        assert await server.ended() == 0
        assert time.monotonic() - began < 3
        for stream in streams:
            await stream.close()


async def test_second_signal_stops_at_once(nats_server: NatsServer, tmp_path: Path) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=60, lifetime=60) as server:
        await server.ready()
        async with await open_stream(server.url):
            server.signal(signal.SIGTERM)
            await until(lambda: server.logged("draining"), "the drain")
            began = time.monotonic()
            server.signal(signal.SIGINT)
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
