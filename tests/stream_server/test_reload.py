"""SIGHUP replaces the workers in place: on the same sockets, one after the other, and nobody notices."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from publisher.messages import now
from stream_server.listening import bind, url_of
from stream_server.reload import READY_WITHIN
from stream_server.workers import Supervisor
from tests.servers import NatsServer, json_lines
from tests.stream_server.raw import (
    Announcer,
    Program,
    is_alive,
    open_stream,
    program,
    send,
    settings_for,
    until,
)
from tests.stream_server.steady import visits

pytestmark = pytest.mark.asyncio

KILLED = "worker did not stop in time and is killed"
SHORT: dict[str, Any] = {"lifetime": 2, "drain": 4, "heartbeat": 1, "edge": "false", "max_events": 100_000}


@pytest_asyncio.fixture
async def announcer(nats_server: NatsServer) -> Announcer:
    announcer = Announcer(nats_server)
    await announcer.create()
    return announcer


@asynccontextmanager
async def serving(folder: Path, announcer: Announcer, **settings: Any) -> AsyncIterator[Program]:
    with program(folder, nats_url=announcer.server.url, **{**SHORT, **settings}) as server:
        await server.ready()
        yield server


async def reload(server: Program, outcome: str = "reloaded") -> None:
    before = len(server.logged(outcome))
    server.signal(signal.SIGHUP)
    # The supervisor gives each of two workers so long to be ready.
    await until(lambda: len(server.logged(outcome)) > before, f"the line {outcome!r}", 2 * READY_WITHIN)


async def test_rolling_restart_under_a_steady_stream_of_clients_costs_none_of_them_anything(
    announcer: Announcer, tmp_path: Path
) -> None:
    async with serving(tmp_path, announcer, workers=2) as server:
        first = server.children()
        version = now()
        await announcer.announce(version)
        async with visits(lambda: server.url) as clients:
            await until(lambda: len(clients.all) > 50, "the first clients")
            await reload(server)
            reloaded_after = len(clients.all)
            announced = version + 1
            await announcer.announce(announced)
            # The acknowledgement says that the broker has it: each worker has heard when its streams were told.
            there = [visit for visit in clients.all if visit.number % 2 == 0]
            await until(lambda: all(visit.over or announced in visit.versions for visit in there), "everybody's news")
            announced_after = len(clients.all)
            await until(lambda: not set(first) & set(server.children()), "the end of the replaced ones")
        assert not server.logged(KILLED)
        assert clients.faults == []
        assert len(clients.all) > 200
        assert all(visit.status == 200 for visit in clients.all)
        streams = [visit for visit in clients.all if visit.number % 2 == 0]
        assert all(visit.lived > visit.lifetime - 0.05 for visit in streams), "those of replaced workers, too"
        assert all(visit.versions[0] in {version, announced} for visit in streams), "all are told the newest at once"
        assert all(visit.versions[-1] == announced for visit in streams if visit.number >= reloaded_after)
        assert all(visit.versions == [announced] for visit in streams if visit.number >= announced_after)
        assert len(server.children()) == 2


async def test_streams_of_replaced_workers_live_on_and_are_told_what_is_new(
    announcer: Announcer, tmp_path: Path
) -> None:
    async with serving(tmp_path, announcer, workers=2, lifetime=120, drain=125) as server:
        streams = await asyncio.gather(*(open_stream(server.url) for _ in range(20)))
        await reload(server)
        version = now()
        await announcer.announce(version)
        assert [(await stream.until(version))[-1] for stream in streams] == [version] * 20
        for stream in streams:
            await stream.close()


async def test_what_waits_for_a_killed_worker_is_accepted_by_its_successor(
    announcer: Announcer, tmp_path: Path
) -> None:
    async with serving(tmp_path, announcer, workers=2) as server:
        ill, well = server.children()
        send(ill, signal.SIGSTOP)  # from now on it accepts nothing: half of those who come wait for it
        async with visits(lambda: server.url) as clients:
            await until(lambda: len(clients.all) > 50, "the first clients")
            waiting = [visit for visit in clients.all if not visit.status]
            send(ill, signal.SIGKILL)
            await until(lambda: len(server.children()) == 2 and ill not in server.children(), "the restart")
            await until(lambda: all(visit.status for visit in waiting), "answers for those who waited")
        assert len(waiting) > 5
        assert clients.faults == []
        assert is_alive(well)


async def test_one_worker_is_replaced_in_place_where_a_supervisor_is_asked_for(
    announcer: Announcer, tmp_path: Path
) -> None:
    async with serving(tmp_path, announcer, supervised="true") as server:
        [first] = server.children()
        async with visits(lambda: server.url) as clients:
            await until(lambda: len(clients.all) > 20, "the first clients")
            await reload(server)
            await reload(server)  # waits until the first one is gone: two of one socket are the most at a time
            await until(lambda: len(server.children()) == 1 and first not in server.children(), "the last one")
        assert not server.logged(KILLED)
        assert clients.faults == []


async def test_reload_reads_the_site_file_again_and_refuses_what_it_cannot_change(
    announcer: Announcer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "flagstream.toml"
    site.write_text("[stream_server]\nworkers = 2\nretry = 1.0\n")
    monkeypatch.setenv("FLAGSTREAM_CONFIG", str(site))

    async def refused(content: str) -> list[str]:
        site.write_text(content)
        workers = server.children()
        await reload(server, "not reloaded: the settings cannot be used, the old ones stay")
        assert server.children() == workers
        faults: list[str] = server.logged("not reloaded: the settings cannot be used, the old ones stay")[-1]["faults"]
        return faults

    async with serving(tmp_path, announcer, edge="true", lifetime=3, drain=8) as server:
        async with await open_stream(server.url) as stream:
            assert await stream.block() == b"retry: 1000\n\n"
        assert len(await refused("[stream_server]\nretry = 0\nworkers = 2\nlifetim = 3\n")) == 2
        assert len(await refused("not toml")) == 1
        faults = await refused("[stream_server]\nworkers = 3\nretry = 3.0\nmax_environments = 100\n")
        assert faults == [
            "workers = 3: stays 2 until the program is started again",
            "max_environments = 100: stays 65536 until the program is started again",
        ]
        site.write_text("[stream_server]\nworkers = 2\nretry = 3.0\n")
        await reload(server)
        async with await open_stream(server.url) as stream:
            assert await stream.block() == b"retry: 3000\n\n"


async def test_stop_in_the_middle_of_a_reload_stops_everything(announcer: Announcer, tmp_path: Path) -> None:
    async with serving(tmp_path, announcer, workers=2) as server:
        streams = await asyncio.gather(*(open_stream(server.url) for _ in range(20)))
        await reload(server, "reloading")
        await until(lambda: len(server.children()) > 2, "a successor")
        workers = server.children()
        server.signal(signal.SIGTERM)
        for stream in streams:
            await stream.rest()
            await stream.close()
        assert await server.ended() == 0
        assert not any(is_alive(worker) for worker in workers)
        assert "Traceback" not in server.process.output()


async def test_without_the_broker_nothing_is_replaced_and_the_log_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []

    def said() -> list[dict[str, object]]:
        written.extend(capfd.readouterr())
        lines = json_lines("".join(written))
        return [line for line in lines if line["event"] == "not reloaded: the other workers stay as they are"]

    settings = settings_for(supervised=True, drain=0, edge=False)
    [listener] = bind("127.0.0.1", 0, 1)
    url = url_of(listener)
    supervisor = Supervisor(settings, lambda: settings, [listener], tmp_path, ready_within=0.5)
    running = asyncio.create_task(supervisor.run())
    async with await open_stream(url) as stream:  # accepted although NATS is away, after it had its time
        [before] = [worker.pid for worker in supervisor.crew.alive]
        supervisor.reload()
        await until(said, "the line that says so")
        [line] = said()
        assert line["replaced"] == 0
        assert "a new worker did not read the newest versions" in str(line["reason"])
        await until(lambda: len(supervisor.crew.alive) == 1, "the end of the new one")
        assert [worker.pid for worker in supervisor.crew.alive] == [before]
        supervisor.stop()
        await stream.rest()
    await running


async def test_signal_without_a_supervisor_is_no_end(nats_server: NatsServer, tmp_path: Path) -> None:
    with program(tmp_path, nats_url=nats_server.url, **SHORT) as server:
        await server.started()
        server.signal(signal.SIGHUP)
        await until(
            lambda: server.logged(
                "SIGHUP replaces nothing without a supervisor: set workers above 1, or supervised = true"
            ),
            "the line",
        )
        async with await open_stream(server.url) as stream:
            assert stream.status == 200
