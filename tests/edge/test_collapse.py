"""Many clients, one stream: what reaches the origin, and what each client gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.messages import version_of
from tests.edge.fan_out import Act, Installation, ScriptedOrigin, installation, path, swarm
from tests.edge.varnish import Varnish
from tests.stream_server.raw import NUMBER, Answer, open_stream

pytestmark = pytest.mark.slow

LIFE = {"lifetime": 34, "join_window": 30, "heartbeat": 5}
MOST = 5000
OPENING = 25.0
"""Seconds within which all clients of a test are there: less than the join window."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    # Who has gone keeps his thread until the next write to him, a heartbeat at the latest.
    with installation(tmp_path_factory.mktemp("site"), life=LIFE, clients=3 * MOST) as running:
        yield running


@pytest.mark.parametrize("clients", [1, 100, 1000, MOST])
def test_clients_of_one_environment_are_one_stream_of_the_origin(site: Installation, clients: int) -> None:
    before = site.opened()
    with site.clients(clients) as running:
        group = running.open(path(f"one-of-{clients}"), clients)
        opened = running.wait_open(group, OPENING)
        assert opened.met, opened
        assert site.opened() - before == 1
        version = site.announce(f"one-of-{clients}")
        told = running.wait_holding(group, version, OPENING)
        assert told.met, told
        assert told.failed == told.refused == told.cut == 0
        assert site.opened() - before == 1


def test_clients_of_ten_environments_are_ten_streams_of_the_origin(site: Installation) -> None:
    before = site.opened()
    with site.clients(3000) as running:
        groups = {f"ten-{number}": running.open(path(f"ten-{number}"), 300) for number in range(10)}
        for group in groups.values():
            assert running.wait_open(group, OPENING).met
        for key, group in groups.items():
            assert running.wait_holding(group, site.announce(key), OPENING).met
        assert site.opened() - before == 10


@pytest.mark.parametrize("clients", [300])
def test_clients_that_come_before_the_headers_do_wait_for_them_together(tmp_path: Path, clients: int) -> None:
    with ScriptedOrigin(lambda _: Act(seconds=30, fresh=25, silence=1.5)) as origin:
        edge = Varnish(tmp_path, origins=[f"127.0.0.1:{origin.port}"]).start()
        try:
            with swarm(edge.port, clients, tmp_path) as running:
                group = running.open(path("slow"), clients)
                report = running.wait_open(group, OPENING)
                assert report.met, report
                assert report.failed == report.refused == 0
            assert origin.requests == [path("slow")]
        finally:
            edge.stop()


@pytest.mark.asyncio
async def test_who_comes_late_gets_the_body_so_far_and_then_what_happens(site: Installation) -> None:
    before = await asyncio.to_thread(site.opened)
    async with await open_stream(site.edge.url, "late") as first:
        body = await first.chunk() or b""
        versions = []
        for _ in range(3):
            versions.append(await asyncio.to_thread(site.announce, "late"))
            while version_of(float(_last_number(body))) != versions[-1]:
                body += await first.chunk() or b""
        async with await Answer.to(site.edge.url, path("late")) as second:
            replay = b""
            while len(replay) < len(body):
                replay += await second.chunk() or b""
            assert replay == body
            assert [version_of(float(each)) for each in NUMBER.findall(replay)] == versions
            live = await asyncio.to_thread(site.announce, "late")
            assert await first.version() == await second.version() == live
            assert int(second.headers["age"]) <= LIFE["join_window"]
    assert await asyncio.to_thread(site.opened) == before + 1


def _last_number(body: bytes) -> bytes:
    found: list[bytes] = NUMBER.findall(body)
    return found[-1] if found else b"0.0"


def test_streams_overlap_between_the_join_window_and_the_end(tmp_path: Path) -> None:
    life = {"lifetime": 8, "join_window": 4, "heartbeat": 2}
    with installation(tmp_path, life=life) as site, site.clients(300) as running:
        early = running.open(path("overlap"), 100)
        assert running.wait_open(early, life["join_window"]).met
        began = time.monotonic()
        joining = running.open(path("overlap"), 100)
        assert running.wait_open(joining, life["join_window"]).met
        assert site.opened() == 1
        time.sleep(max(0.0, began + life["join_window"] + 0.3 - time.monotonic()))  # the join window itself
        late = running.open(path("overlap"), 100)
        report = running.wait_open(late, life["join_window"])
        assert report.met, report
        assert site.opened() == 2, "past the join window a new stream begins"
        assert running.report(early).open == 100, "and the old one goes on"
        version = site.announce("overlap")
        for group in (early, joining, late):
            assert running.wait_holding(group, version, 3).met, "both are told"
        assert running.wait_closed(early, 15).met
        assert running.wait_closed(joining, 15).met
        assert running.report(late).open == 100, "who came late does not go with the first"
        ended = running.wait_closed(late, 15)
        assert (ended.ended, ended.cut) == (100, 0)
        assert site.opened() == 2
