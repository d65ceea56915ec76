"""Several processes on one port: one answer for all, one address, and deaths that cost nobody a connection."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from publisher.messages import now, version_of
from stream_server.workers import FIRST_PAUSE
from tests.servers import NatsServer
from tests.stream_server.raw import (
    NUMBER,
    PATIENCE,
    Announcer,
    Answer,
    CutError,
    Program,
    is_alive,
    open_stream,
    program,
    send,
    until,
)

pytestmark = pytest.mark.asyncio

DIED = "worker died and is started again"
LOADED = "all newest versions are read"


@pytest_asyncio.fixture
async def announcer(nats_server: NatsServer) -> Announcer:
    announcer = Announcer(nats_server)
    await announcer.create()
    return announcer


@pytest_asyncio.fixture
async def server(announcer: Announcer, tmp_path: Path) -> AsyncIterator[Program]:
    with program(tmp_path, nats_url=announcer.server.url, workers=2, drain=1, edge="false") as server:
        await server.started()
        await until(lambda: len(server.logged(LOADED)) >= 2, "the workers' readings")
        yield server


async def figure(url: str, name: str) -> float:
    async with await Answer.to(url, "/metrics") as answer:
        for line in (await answer.content()).decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return 0


def figure_files(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("flagstream-*/metrics/*.db")]


async def reach(url: str, name: str, value: float) -> None:
    """Wait until a figure, which workers tell a few times a second, is `value` for good."""
    async with asyncio.timeout(PATIENCE):
        while await figure(url, name) != value:
            await asyncio.sleep(0.02)


async def test_both_workers_serve_one_port_and_metrics_are_their_sum(server: Program, announcer: Announcer) -> None:
    assert len(server.children()) == 2
    streams = await asyncio.gather(*(open_stream(server.url) for _ in range(40)))
    version = now()
    await announcer.announce(version)
    assert all(seen[-1] == version for seen in await asyncio.gather(*(stream.until(version) for stream in streams)))
    # Each worker begins one event of its own: both hold streams of this environment.
    assert [await figure(server.url, "flagstream_events_dispatched_total") for _ in range(6)] == [2.0] * 6
    await reach(server.url, "flagstream_streams_open", 40)
    assert [await figure(server.url, "flagstream_streams_open") for _ in range(6)] == [40.0] * 6
    for stream in streams:
        await stream.close()


async def test_killed_worker_is_started_again_and_what_waited_for_it_is_served(
    server: Program, announcer: Announcer
) -> None:
    version = now()
    await announcer.announce(version)
    before = server.children()
    streams = await asyncio.gather(*(open_stream(server.url) for _ in range(40)))
    send(before[0], signal.SIGKILL)
    # Opened while one of the two is dead: those in its queue wait for its successor.
    newcomers = await asyncio.gather(*(open_stream(server.url) for _ in range(40)))
    opened = await asyncio.gather(*(stream.until(version) for stream in newcomers))
    assert all(seen[-1] == version for seen in opened)
    await until(lambda: len(server.children()) == 2 and before[0] not in server.children(), "the restart")
    announced = version + 1
    await announcer.announce(announced)
    ends = await asyncio.gather(*(stream.until(announced) for stream in streams + newcomers), return_exceptions=True)
    cut = sum(isinstance(end, CutError) for end in ends)
    assert 0 < cut < 40, "only the dead worker's streams ended"
    assert all(isinstance(end, CutError) or (isinstance(end, list) and end[-1] == announced) for end in ends)
    for stream in streams + newcomers:
        await stream.close()
    async with await open_stream(server.url) as stream:
        assert await stream.version() == announced


async def test_signal_drains_all_workers_and_ends_with_status_0(server: Program) -> None:
    workers = server.children()
    streams = await asyncio.gather(*(open_stream(server.url) for _ in range(20)))
    server.signal(signal.SIGTERM)
    for stream in streams:
        await stream.rest()
        await stream.close()
    assert await server.ended() == 0
    assert not any(is_alive(worker) for worker in workers)
    assert "Traceback" not in server.process.output()


async def test_workers_end_with_a_killed_supervisor_and_streams_end_cleanly(server: Program) -> None:
    workers = server.children()
    stream = await open_stream(server.url)
    server.process.kill()
    await stream.rest()
    await stream.close()
    await until(lambda: not any(is_alive(worker) for worker in workers), "the end of the workers")


async def test_worker_that_cannot_be_started_costs_only_itself_and_is_tried_again(server: Program) -> None:
    supervisor = server.process.pid
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))  # no descriptor for the pipe to a worker
    first, second = server.children()
    send(first, signal.SIGKILL)
    await until(
        lambda: any("not started" in str(line["status"]) for line in server.logged(DIED)),
        "the failed start",
    )
    assert is_alive(second)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    await until(lambda: len(server.children()) == 2, "the restart")
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0


async def test_worker_that_is_gone_does_not_keep_the_others_from_their_end(server: Program) -> None:
    stream = await open_stream(server.url)
    for worker in server.children():
        send(worker, signal.SIGKILL)
        await until(lambda worker=worker: not is_alive(worker), "the death")
        break
    server.signal(signal.SIGTERM)
    assert await server.ended() == 0
    assert "Traceback" not in server.process.output()
    await stream.close()


async def test_worker_that_keeps_dying_is_started_ever_more_slowly_while_the_others_go_on(server: Program) -> None:
    [_, well] = server.children()
    for death in range(1, 5):
        await until(lambda: len(server.children()) == 2, "the restart")
        [ill] = set(server.children()) - {well}
        send(ill, signal.SIGKILL)
        await until(lambda death=death: len(server.logged(DIED)) >= death, "the line")
    first, *pauses = [line["after_seconds"] for line in server.logged(DIED)]
    assert first in {0.0, FIRST_PAUSE}, "none where it took a busy machine longer than STEADY to come this far"
    assert pauses == [max(2 * pause, FIRST_PAUSE) for pause in (first, *pauses[:-1])]
    assert is_alive(well)


async def test_worker_accepts_only_when_it_has_read_the_newest_versions(announcer: Announcer, tmp_path: Path) -> None:
    version = now()
    await announcer.announce(version)
    with program(tmp_path, nats_url=announcer.server.url, workers=2, drain=1, edge="false") as server:
        await server.started()  # the supervisor listens: who comes now is there before a worker has its first question
        for stream in await asyncio.gather(*(open_stream(server.url) for _ in range(20))):
            found = NUMBER.search(await stream.block() or b"")
            assert found is not None, "told less than there is"
            assert version_of(float(found[1])) == version
            await stream.close()


async def test_counters_outlive_their_worker_and_their_files_do_not_pile_up(
    announcer: Announcer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with program(tmp_path, nats_url=announcer.server.url, workers=2, drain=1, edge="false") as server:
        await server.started()
        for _ in range(20):
            async with await open_stream(server.url):
                pass
        await reach(server.url, "flagstream_streams_opened_total", 20)
        for deaths in range(1, 3):
            for worker in server.children():
                send(worker, signal.SIGKILL)
            await until(lambda deaths=deaths: len(server.logged(LOADED)) >= 2 + 2 * deaths, "both")
            assert await figure(server.url, "flagstream_streams_opened_total") == 20
        async with await open_stream(server.url):
            await reach(server.url, "flagstream_streams_opened_total", 21)
        await reach(server.url, "flagstream_streams_open", 0)
        files = figure_files(tmp_path)
        assert {name.rpartition("_")[2] for name in files} <= {"0.db", "1.db", "2.db", "3.db"}
