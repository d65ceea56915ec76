"""Streams end; clients come back, once each. A naive configuration shows that these tests see the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.swarm import Report
from tests.edge.fan_out import Act, ScriptedOrigin, installation, naive, path, swarm
from tests.edge.varnish import Varnish
from tests.servers import wait_until

pytestmark = pytest.mark.slow

CLIENTS = 200
SECONDS = 4.5
SHORT = 1.5
"""Seconds of a stream that ends before its time."""

LOOP = 30 * CLIENTS
"""Finished streams that are a loop: the naive configuration replays as many in a second or two, ours up to 2,500."""


def lived(port: int, folder: Path, *, again: int = 0) -> Report:
    """Let clients come back `again` ms after each end, for some seconds; return what became of them."""
    folder.mkdir(exist_ok=True)
    with swarm(port, CLIENTS, folder) as running:
        group = running.open(path("abc"), CLIENTS, again_min=0, again_max=again)
        assert running.wait_open(group, 5).met
        time.sleep(SECONDS)
        return running.report(group)


def guarded(folder: Path, script: Callable[[int], Act], **options: int) -> tuple[Report, int, float]:
    """Run clients behind our configuration; return their report, how many streams the origin opened, the seconds."""
    with ScriptedOrigin(script) as origin:
        edge = Varnish(folder, origins=[f"127.0.0.1:{origin.port}"]).start()
        began = time.monotonic()
        try:
            report, streams = lived(edge.port, folder / "clients", **options), len(origin.requests)
            return report, streams, time.monotonic() - began
        finally:
            edge.stop()


SCRIPTS: dict[str, Callable[[int], Act]] = {
    "every stream ends inside its join window": lambda _: Act(seconds=SHORT, fresh=30),
    "streams are fresh for longer than they live": lambda _: Act(seconds=2.5, fresh=4),
    "three streams end early": lambda number: Act(seconds=SHORT if number < 3 else 30, fresh=20),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=[name.replace(" ", "_") for name in SCRIPTS])
def test_no_loop_when(script: Callable[[int], Act], tmp_path: Path) -> None:
    report, streams, seconds = guarded(tmp_path, script)
    began, expected = 0.0, 0
    while began < seconds:
        began += script(expected).seconds
        expected += 1
    assert 2 <= streams <= expected, "one stream after the other"
    # Varnish calls a stream running until the last of its clients has left it: who is back before that, within
    # milliseconds, gets the finished one, a few times, where a loop would be for as long as it is fresh.
    assert report.whole <= LOOP, report
    assert report.opened <= CLIENTS * (streams + 0.5) + report.whole, report
    assert report.cut == report.failed == report.refused == 0
    assert report.ended - report.whole >= CLIENTS


def test_the_naive_configuration_loops_in_the_same_test(tmp_path: Path) -> None:
    script = SCRIPTS["every stream ends inside its join window"]
    with ScriptedOrigin(script) as origin, naive(tmp_path, origin.port) as edge:
        with swarm(edge.port, CLIENTS, tmp_path) as running:
            group = running.open(path("abc"), CLIENTS, again_min=0, again_max=0)
            wait_until(lambda: running.report(group).whole > LOOP, "the loop", 20)
        assert len(origin.requests) == 1


def test_clients_with_a_random_pause_spread_over_streams_and_none_is_ended_at_once(tmp_path: Path) -> None:
    report, streams, seconds = guarded(tmp_path, lambda _: Act(seconds=2.5, fresh=1), again=800)
    assert streams <= seconds / 1 + 1, "one a join window at most"
    assert report.opened <= CLIENTS * (seconds / 1.5 + 2), report
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
