"""How `flagstream serve` stops: by real signals to a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from publisher.messages import now
from stream_server.drain import Drain
from stream_server.listening import bind, url_of
from stream_server.metrics import Metrics
from tests.servers import NatsServer, Process
from tests.stream_server.raw import (
    Announcer,
    Answer,
    CutError,
    Program,
    open_stream,
    program,
    running,
    settings_for,
    stream_path,
    until,
)
from tests.stream_server.steady import visits

pytestmark = pytest.mark.asyncio


class Balancer:
    """What a load balancer does: it asks each server whether it is ready, and sends clients to those that are."""

    def __init__(self, servers: list[Program]) -> None:
        self._servers = servers
        self._turn = 0
        self.up: list[str] = []

    def target(self) -> str:
        self._turn += 1
        return self.up[self._turn % len(self.up)]

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        self.up = [server.url for server in self._servers]
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _look(self) -> None:
        while True:
            ready = [await self._is_ready(server) for server in self._servers]
            for server in self._servers:
                if server.logged("listening"):
                    server.url = str(server.logged("listening")[-1]["url"])
            self.up = [server.url for server, is_ready in zip(self._servers, ready, strict=True) if is_ready]
            await asyncio.sleep(0.1)

    async def _is_ready(self, server: Program) -> bool:
        try:
            async with await Answer.to(server.url, "/health/readiness") as answer:
                return answer.status == 200
        except (OSError, EOFError):
            return False


class Activated(Process):
    """`flagstream serve` with a listening socket that it is passed as systemd does (sd_listen_fds(3))."""

    def __init__(self, listener: socket.socket, log: Path, environ: dict[str, str]) -> None:
        started = (
            "import os, sys; os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
            f"os.dup2({listener.fileno()}, 3); os.execv(sys.executable, [sys.executable, '-m', 'flagstream', 'serve'])"
        )
        super().__init__([sys.executable, "-c", started], log=log, env={**os.environ, **environ})
        self._listener = listener

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.env, pass_fds=(self._listener.fileno(),)
            )
        return self


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
async def test_idle_server_stops_when_load_balancers_had_time_to_notice_with_status_0_and_nothing_on_its_log(
    nats_server: NatsServer, tmp_path: Path, sig: signal.Signals
) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=4, lifetime=2, edge="false") as server:
        await server.ready()
        idle = await Answer.to(server.url, "/health/liveness")  # kept alive: no reason to wait
        began = time.monotonic()
        server.signal(sig)
        await until(lambda: server.logged("draining"), "the drain")
        async with await open_stream(server.url) as stream:  # sent by a load balancer that has not looked yet
            assert stream.status == 200
        assert await server.ended() == 0
        assert 1.9 <= time.monotonic() - began < 20, "connections are kept alive for more than a minute"
        assert "Traceback" not in server.process.output()
        assert server.logged("stopped")
        await idle.close()


async def test_replaced_process_stays_ready_and_a_first_signal_leaves_it_its_time() -> None:
    drain = Drain(30, Metrics())
    drain.replace()
    assert (drain.replaced, drain.draining, drain.stopping) == (True, True, False), "its place is served: stay ready"
    drain.begin()
    assert (drain.stopping, drain.over) == (True, False)
    drain.begin()
    assert drain.over, "a second signal ends it at once"


async def test_stopping_process_cannot_be_replaced() -> None:
    drain = Drain(30, Metrics())
    drain.begin()
    drain.replace()
    assert not drain.replaced, "it must serve who comes until load balancers have noticed"


@pytest.mark.parametrize(("seconds", "notice"), [(0, 0), (1, 0.5), (35, 5), (3600, 5)])
async def test_notice_is_half_of_a_short_drain_and_five_seconds_of_a_long_one(seconds: float, notice: float) -> None:
    drain = Drain(seconds, Metrics())
    assert not drain.noticed
    before = time.monotonic()
    drain.begin()
    assert before + notice <= drain._noticed_at <= time.monotonic() + notice
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
        began = time.monotonic()
        old = await open_stream(server.url)
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
        assert time.monotonic() - began >= own_end - 0.05, "the old stream reached its own end"
        assert await server.ended() == 0
        assert time.monotonic() - began < 15
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
        assert time.monotonic() - began < 15, "of lives of thirty"


async def test_streams_reach_their_own_ends_behind_an_edge(nats_server: NatsServer, tmp_path: Path) -> None:
    await Announcer(nats_server).create()
    with program(tmp_path, nats_url=nats_server.url, drain=8, lifetime=3) as server:
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
            assert time.monotonic() - began < 15, "of a minute that was left"


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
            client.settimeout(30)
            answer = b""
            while part := client.recv(65536):
                answer += part
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert answer.endswith(b"0\r\n\r\n")
            client.close()


async def test_servers_stopped_one_after_the_other_behind_a_load_balancer_reset_nobody(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await Announcer(nats_server).create()
    settings: dict[str, Any] = {"nats_url": nats_server.url, "lifetime": 2, "drain": 4, "edge": "false", "heartbeat": 1}
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with program(folders[0], **settings) as one, program(folders[1], **settings) as other:
        balancer = Balancer([one, other])
        for server in (one, other):
            await server.ready()
        async with balancer.looking(), visits(balancer.target) as clients:
            for server in (one, other):
                await until(lambda: len(balancer.up) == 2, "both in service")
                server.signal(signal.SIGTERM)
                assert await server.ended() == 0
                server.process.start()  # as the next version would be, on a port of its own
        assert len(clients.all) > 300
        assert clients.faults == []


async def test_socket_that_a_service_manager_keeps_makes_a_restart_reset_nobody(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    await Announcer(nats_server).create()
    [kept] = bind("127.0.0.1", 0, 1)
    environ = {"NATS_URL": nats_server.url, "LIFETIME": "2", "JOIN_WINDOW": "0", "DRAIN": "1", "LOG_FORMAT": "json"}
    server = Program(Activated(kept, tmp_path / "log", {f"STREAM_SERVER_{name}": environ[name] for name in environ}))
    server.process.start()
    try:
        await server.started()
        assert server.url == url_of(kept)
        async with visits(lambda: server.url) as clients:
            await until(lambda: any(visit.status for visit in clients.all), "the first answer")
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0
            meanwhile = len(clients.all)
            server.process.start()
            await until(lambda: len(server.logged("listening")) == 2, "the next one")
            await until(lambda: all(visit.status for visit in clients.all[: meanwhile + 20]), "answers for all")
        assert clients.faults == []
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    finally:
        if server.process.running:
            server.process.kill()
        kept.close()


async def test_address_that_is_taken_is_said_in_one_line_with_status_1(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, program(tmp_path, port=taken.getsockname()[1], nats_url="nats://127.0.0.1:9") as server:
        assert await server.ended() == 1
        assert server.logged("cannot listen")
        assert "Traceback" not in server.process.output()
