"""Streams end; clients come back, once each. A naive configuration shows that these tests see the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.swarm import Report
from tests.edge.fan_out import Act, ScriptedOrigin, installation, naive, path, swarm
from tests.edge.varnish import Varnish

pytestmark = pytest.mark.slow

CLIENTS = 200
SECONDS = 4.5
SHORT = 1.5
"""Seconds of a stream that ends before its time."""

LOOP = 30 * CLIENTS
"""Finished streams that are a loop: the naive configuration replays 40,000 in four seconds, ours 20 to 2,500 in all."""


def lived(port: int, folder: Path, *, again: int = 0, seconds: float = SECONDS) -> Report:
    """Let clients come back `again` ms after each end, for some seconds; return what became of them."""
    folder.mkdir(exist_ok=True)
    with swarm(port, CLIENTS, folder) as running:
        group = running.open(path("abc"), CLIENTS, again_min=0, again_max=again)
        assert running.wait_open(group, 5).met
        time.sleep(seconds)
        return running.report(group)


def guarded(folder: Path, script: Callable[[int], Act], **options: int) -> tuple[Report, int]:
    """Run clients behind our configuration; return their report and how many streams the origin opened."""
    with ScriptedOrigin(script) as origin:
        edge = Varnish(folder, origins=[f"127.0.0.1:{origin.port}"]).start()
        try:
            return lived(edge.port, folder / "clients", **options), len(origin.requests)
        finally:
            edge.stop()


def unguarded(folder: Path, script: Callable[[int], Act], **options: int) -> tuple[Report, int]:
    """Run clients behind the naive configuration."""
    with ScriptedOrigin(script) as origin, naive(folder, origin.port) as edge:
        return lived(edge.port, folder / "clients", **options), len(origin.requests)


SCRIPTS: dict[str, Callable[[int], Act]] = {
    "every stream ends inside its join window": lambda _: Act(seconds=SHORT, fresh=30),
    "streams are fresh for longer than they live": lambda _: Act(seconds=2.5, fresh=4),
    "three streams end early": lambda number: Act(seconds=SHORT if number < 3 else 30, fresh=20),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=[name.replace(" ", "_") for name in SCRIPTS])
def test_no_loop_when(script: Callable[[int], Act], tmp_path: Path) -> None:
    report, streams = guarded(tmp_path, script)
    began, expected = 0.0, 0
    while began < SECONDS + 5:
        began += script(expected).seconds
        expected += 1
    assert streams <= expected, "one stream after the other"
    # Varnish calls a stream running until the last of its clients has left it: who is back before that, within
    # milliseconds, gets the finished one, a few times, where a loop would be for as long as it is fresh.
    assert report.whole <= LOOP, report
    assert report.opened <= CLIENTS * (streams + 0.5) + report.whole, report
    assert report.cut == report.failed == report.refused == 0
    assert report.ended - report.whole >= CLIENTS


def test_the_naive_configuration_loops_in_the_same_test(tmp_path: Path) -> None:
    report, streams = unguarded(tmp_path, SCRIPTS["every stream ends inside its join window"], seconds=4)
    assert streams == 1
    assert report.whole > LOOP, report


def test_clients_with_a_random_pause_spread_over_streams_and_none_is_ended_at_once(tmp_path: Path) -> None:
    report, streams = guarded(tmp_path, lambda _: Act(seconds=2.5, fresh=1), again=800)
    assert streams <= (SECONDS + 5) / 1 + 1, "one a join window at most"
    assert report.opened <= CLIENTS * (SECONDS / 1.5 + 2), report
    assert report.cut == report.failed == report.refused == 0
    assert report.whole == 0, "fresh for less than it lives: nothing is replayed"


def test_ninety_versions_over_streams_of_three_seconds_leave_everybody_at_the_newest(tmp_path: Path) -> None:
    life = {"lifetime": 3, "join_window": 1, "heartbeat": 1, "min_interval": 0.05}
    with installation(tmp_path, life=life) as site, site.clients(100) as running:
        group = running.open(path("abc"), 100, again_min=0, again_max=300)
        assert running.wait_open(group, 5).met
        for _ in range(90):
            version = site.announce("abc")
            time.sleep(0.07)  # the pace of the versions, which is what is tested
        report = running.wait_reached(group, version, 5)
        assert report.met, report
        assert report.ended >= 200, "over several streams each"
        assert report.whole == report.cut == report.failed == report.refused == report.backwards == 0
        assert site.opened() < report.opened / 5
