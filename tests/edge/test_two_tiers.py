"""Edges outside, a shield inside, stream servers behind it: the join window is one, through both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.edge.fan_out import Installation, installation, path, place, swarm
from tests.edge.varnish import Varnish
from tests.stream_server.raw import Answer, open_stream

pytestmark = pytest.mark.slow

LIFE: dict[str, int] = {"lifetime": 8, "join_window": 5, "heartbeat": 2, "edge_tiers": 2}
HERE = ("127.0.0.1",)


@contextmanager
def tiers(folder: Path, *, told: bool = True) -> Iterator[tuple[Installation, list[Varnish]]]:
    """Run a shield with two edges outside; `told` says whether the shield knows them."""
    with installation(folder, life=LIFE, tiers=HERE if told else ()) as site:
        outside = [
            Varnish(_made(folder / name), streams=site.life | {"edge": True}, origins=[place(site.edge.url)])
            for name in ("outer-1", "outer-2")
        ]
        try:
            for each in outside:
                each.start()
            yield site, outside
        finally:
            for each in outside:
                if each.process.running:
                    each.stop()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_clients_at_two_edges_are_one_stream_of_the_origin_and_do_not_loop(tmp_path: Path) -> None:
    with ExitStack() as stack:
        site, outside = stack.enter_context(tiers(tmp_path))
        left = stack.enter_context(swarm(outside[0].port, 200, tmp_path))
        right = stack.enter_context(swarm(outside[1].port, 200, tmp_path, first=left.first_free))
        groups = [(each, each.open(path("abc"), 200, again_min=0, again_max=500)) for each in (left, right)]
        for each, group in groups:
            assert each.wait_open(group, LIFE["join_window"]).met
        assert site.opened() == 1
        began = time.monotonic()
        version = site.announce("abc")
        for each, group in groups:
            assert each.wait_holding(group, version, 5).met
        # Over an end.
        for each, group in groups:
            report = each.wait_opened(group, 30, streams=400)
            assert report.met, report
            assert report.cut == report.failed == report.refused == 0
            assert report.opened < 200 * ((time.monotonic() - began) / (LIFE["lifetime"] - LIFE["join_window"]) + 2)
        version = site.announce("abc")
        for each, group in groups:
            assert each.wait_reached(group, version, 5).met
        assert site.opened() <= (time.monotonic() - began) / LIFE["join_window"] + 2


@asynccontextmanager
async def reading(stream: Answer) -> AsyncIterator[asyncio.Task[float]]:
    """Read a stream to its clean end meanwhile; the task gives the moment of the end."""

    async def rest() -> float:
        await stream.rest()
        return time.monotonic()

    task = asyncio.create_task(rest())
    try:
        yield task
    finally:
        await task


@pytest.mark.asyncio
async def test_the_time_at_the_shield_counts_outside(tmp_path: Path) -> None:
    with tiers(tmp_path) as (site, (left, right)):
        async with await open_stream(left.url) as first, reading(first) as first_end:
            began = time.monotonic()
            assert first.headers["x-stream-lifetime"] == str(LIFE["lifetime"])
            assert first.headers["cache-control"] == "no-store, no-transform"
            assert "surrogate-control" not in first.headers
            await asyncio.sleep(2.2)  # time at the shield
            async with await open_stream(right.url) as second, reading(second) as second_end:
                assert int(second.headers["age"]) >= 2
                assert await asyncio.to_thread(site.opened) == 1
                # The join window, and the second that an edge may lose because `Age` has no fractions. Whoever forgot
                # the age would take the stream for fresh until it is over.
                await asyncio.sleep(began + LIFE["join_window"] + 1.2 - time.monotonic())
                async with await open_stream(right.url) as third, reading(third) as third_end:
                    assert int(third.headers["age"]) <= 1
                    assert await asyncio.to_thread(site.opened) == 2
                ends = [await each - began for each in (first_end, second_end, third_end)]
        assert abs(ends[0] - ends[1]) < 2, "they shared one stream: another would have ended 2.2 s later"
        assert ends[2] - ends[0] > LIFE["join_window"] - 1, "who came past the join window did not"


@pytest.mark.asyncio
async def test_a_shield_that_does_not_know_the_edges_outside_still_does_not_make_them_loop(tmp_path: Path) -> None:
    with tiers(tmp_path, told=False) as (site, (left, _)):
        async with await open_stream(left.url) as first:
            assert first.headers["cache-control"] == "no-store, no-transform"
        with swarm(left.port, 100, tmp_path) as running:
            group = running.open(path("def"), 100, again_min=0, again_max=0)
            report = await asyncio.to_thread(running.wait_opened, group, 30, streams=200)
            assert report.met
            assert report.cut == report.failed == 0
        assert await asyncio.to_thread(site.opened) <= 5
