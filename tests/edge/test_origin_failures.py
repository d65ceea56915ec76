"""Origins that die, freeze and come back, with clients behind the edge and a waiting room beside it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.swarm import Group, Swarm
from tests.edge.fan_out import Installation, installation, opened_at, path
from tests.servers import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

CLIENTS = 1500
HEARTBEAT = 5
SILENCE = 3 * HEARTBEAT
"""Seconds after which the edge itself would take an origin for dead."""

AT_ONCE = 5.0
"""Seconds that stand for "at once" on a busy machine: far below what any timeout here would take."""

KEYS = ("one", "two", "three")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    life = {"lifetime": 60, "join_window": 50, "heartbeat": HEARTBEAT}
    with installation(tmp_path_factory.mktemp("site"), life=life, waiting_room=True, clients=6000) as running:
        yield running


def open_all(site: Installation, running: Swarm, **again: int) -> dict[str, Group]:
    """Open the clients, a third for each key, and see all of them told."""
    groups = {key: running.open(path(key), CLIENTS // len(KEYS), **again) for key in KEYS}
    for key, group in groups.items():
        assert running.wait_open(group, 15).met
        assert running.wait_holding(group, site.announce(key), 15).met
    return groups


def test_when_the_origin_is_killed_its_clients_are_cut_at_once(site: Installation) -> None:
    [origin] = site.origins
    with site.clients(CLIENTS) as running:
        groups = open_all(site, running)
        origin.kill()
        for group in groups.values():
            report = running.wait_closed(group, AT_ONCE)
            assert report.met, report
            assert (report.cut, report.ended) == (CLIENTS // len(KEYS), 0), "cut: a clean end would be replayed"
    origin.start()


def test_killed_origin_is_asked_little_and_once_a_key_when_it_is_back(site: Installation) -> None:
    [origin] = site.origins
    assert site.waiting_room is not None
    with site.clients(CLIENTS) as running:
        groups = open_all(site, running, again_min=0, again_max=1000)
        before = site.edge.counters()
        waiting = opened_at(site.waiting_room.url)
        origin.kill()
        killed = time.monotonic()
        for group in groups.values():
            # All were cut and are there again: in the waiting room.
            assert running.wait_opened(group, 15, streams=2 * CLIENTS // len(KEYS)).met
        away = time.monotonic() - killed
        after = site.edge.counters()
        assert opened_at(site.waiting_room.url) > waiting
        tried = after["MAIN.backend_fail"] - before["MAIN.backend_fail"]
        assert tried <= len(KEYS) * (away / 1 + 2), "a try a second and key, however many clients there are"
        versions = {key: site.announce(key) for key in KEYS}
        origin.start()
        for key, group in groups.items():
            report = running.wait_holding(group, versions[key], 30)
            assert report.met, report
            assert report.refused == report.failed == 0
        # The room lets go of its clients as they get old enough, and the last of them come within a join window.
        assert opened_at(origin.url) == len(KEYS), "one stream a key"


def test_clients_of_a_frozen_origin_are_cut_after_three_heartbeats_and_wait_elsewhere(tmp_path: Path) -> None:
    life = {"lifetime": 60, "join_window": 50, "heartbeat": 1}
    with installation(tmp_path, life=life, waiting_room=True) as site, site.clients(400) as running:
        [origin] = site.origins
        assert site.waiting_room is not None
        group = running.open(path("abc"), 200, again_min=0, again_max=500)
        assert running.wait_open(group, 10).met
        assert origin.process.popen is not None
        os.kill(origin.process.pid, signal.SIGSTOP)
        frozen = time.monotonic()
        try:
            late = running.open(path("new"), 100, again_min=0, again_max=500)
            assert running.wait_open(late, 10).met, "who comes meanwhile waits in the waiting room"
            report = running.wait_opened(group, 15, streams=400)
            assert report.met, report
            assert report.cut >= 200
            assert time.monotonic() - frozen > 2, "not before the heartbeats are missed"
            assert opened_at(site.waiting_room.url) >= 2
        finally:
            os.kill(origin.process.pid, signal.SIGCONT)
        for key, each in (("abc", group), ("new", late)):
            assert running.wait_holding(each, site.announce(key), 30).met


def test_a_frozen_origin_gives_its_clients_to_the_other_one(tmp_path: Path) -> None:
    life = {"lifetime": 60, "join_window": 50, "heartbeat": 1}
    with installation(tmp_path, life=life, origins=2, waiting_room=True) as site, site.clients(200) as running:
        assert site.waiting_room is not None
        group = running.open(path("abc"), 200, again_min=0, again_max=500)
        assert running.wait_open(group, 10).met
        [frozen] = [each for each in site.origins if opened_at(each.url) == 1]
        [other] = [each for each in site.origins if each is not frozen]
        os.kill(frozen.process.pid, signal.SIGSTOP)
        try:
            assert running.wait_opened(group, 20, streams=400).met
            assert running.wait_holding(group, site.announce("abc"), 15).met, "the other origin has them"
            assert opened_at(other.url) == 1
            assert opened_at(site.waiting_room.url) == 0, "nobody had to wait"
        finally:
            os.kill(frozen.process.pid, signal.SIGCONT)


def test_with_the_waiting_room_down_as_well_streams_are_a_200_with_a_retry(site: Installation) -> None:
    [origin] = site.origins
    assert site.waiting_room is not None
    origin.kill()
    site.waiting_room.kill()
    try:
        with httpx.Client(base_url=site.edge.url) as client:
            answers = [client.get(path("nobody")) for _ in range(20)]
        assert {each.status_code for each in answers} == {200}
        assert {each.headers["content-type"] for each in answers} == {"text/event-stream"}
        assert all(each.text.startswith("retry: ") for each in answers)
        assert len({each.text for each in answers}) > 1, "a time of its own for each"
    finally:
        site.waiting_room.start()
        origin.start()
    wait_until(lambda: "retry: 2000" in _first_block(site, "back"), "the first stream of the origin that is back")


def _first_block(site: Installation, key: str) -> str:
    with httpx.stream("GET", site.edge.url + path(key), timeout=5) as answer:
        return next(answer.iter_text(), "")
