"""What workers that die make of a fleet: who waits for whom, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.plan.planning import played
from loadtest.plan.settings import Plan
from loadtest.plan.simulation import Simulation
from tests.loadtest.plan.small_plans import FAR, of, plan


def test_browsers_come_back_as_late_as_retry_says() -> None:
    killed = {"at": 60, "do": "workers", "down": 0}
    storm = plan(
        clients=of("eventsource", 5_000),
        streams={"retry": 4},
        origin={"processes": 2, "cores": 2},
        failures=[killed],
        run={"seconds": 90, "bin": 0.1},
    )
    outcome = played(storm)
    [failure] = outcome.failures
    assert failure.cut == 5_000
    assert failure.readmission.count == 5_000
    assert failure.readmission.p50_s == pytest.approx(4.0, abs=0.1)
    assert failure.readmission.max_s is not None
    assert failure.readmission.max_s < 4.3


def test_a_storm_takes_as_long_as_the_origin_needs_to_open_all_of_it() -> None:
    storm = plan(
        clients=of("eventsource", 20_000, open_over=20),
        edge={"on": True, "while_down": "error"},
        streams={"retry": 2},
        origin={"processes": 1, "cores": 1, "backlog": 65_535},
        costs={"open_us": 400},
        failures=[{"at": 50, "do": "workers", "down": 0}],
        run={"seconds": 80},
    )
    direct = storm.model_copy(
        update={
            "clients": storm.clients.model_copy(
                update={"mix": (storm.clients.mix[0].model_copy(update={"via": "origin"}),)}
            )
        }
    )
    [failure] = played(direct).failures
    # They come after 2 s, and each takes 400 µs.
    assert failure.readmission.max_s == pytest.approx(2.0 + failure.cut * 400e-6, rel=0.05)


def test_connections_that_are_used_again_stay_with_their_process() -> None:
    storm = plan(
        clients=of("flagsmith-js", 4_000, open_over=5),
        edge={"on": False},
        origin={"processes": 2},
        failures=[{"at": 40, "do": "workers", "share": 0.5}, {"at": 100, "do": "workers", "share": 0.5}],
        run={"seconds": 120, "step": 0.1},
    )
    first, second = played(storm).failures
    assert first.cut == pytest.approx(2_000, abs=250)
    # Half of those came to the other one, which is then killed, and nobody left it since.
    assert second.cut == pytest.approx(3_000, abs=350)


def test_a_stream_that_took_the_place_of_one_proves_nothing_yet() -> None:
    """Make before break: a client cut soon after it, and soon after another cut, waits as after a second failure."""
    storm = plan(
        clients=of("flagstream", 2_000, open_over=1),
        failures=[{"at": 20, "do": "workers", "down": 0}, {"at": 46, "do": "workers", "down": 0}],
        run={"seconds": 60},
    )
    first, second = played(storm).failures
    assert first.readmission.max_s is not None
    assert second.readmission.max_s is not None
    # 2 to 3 s; and 2 to 4 for those whose newest stream lived less than the 10 s that count as proof.
    assert first.readmission.max_s < 3.2
    assert 3.5 < second.readmission.max_s < 4.2


def test_behind_an_edge_who_lost_his_stream_with_a_worker_gets_the_next_one_from_another_at_once() -> None:
    given = {
        "clients": of("flagsmith-python", 3_000, open_over=5),
        "environments": {"count": 40, "spread": "even"},
        "origin": {"processes": 2, "restart": 8},
        "failures": [{"at": 40, "do": "workers", "share": 0.5, "down": 0}],
        "run": {"seconds": 60},
    }
    often, never = (played(plan(**given, changes={"per_environment_per_hour": rate})).failures[0] for rate in (60, 0))
    assert often.readmission.max_s is not None
    assert often.readmission.max_s < 1.2
    # Without documents an edge has no connection to spare: a new one may lead to the worker that is away.
    assert never.readmission.max_s is not None
    assert never.readmission.max_s > 5


def test_who_comes_from_afar_does_not_keep_a_queue_busy_before_those_from_nearby() -> None:
    regions = [{"name": name, "origin_rtt_ms": rtt} for name, rtt in (("near", 5), ("far", 180))]
    direct = Plan.model_validate(
        {
            "clients": of("flagsmith-android", 4_000, open_over=20),
            "regions": regions,
            "edge": {"on": False},
            "origin": {"processes": 1, "backlog": 300},
            "costs": {"open_us": 1_500},
            "failures": [],
            "run": {"seconds": 75},
        }
    )
    outcome = played(direct)
    # 200 opens a second, of 666 that the process can do: next to nobody waits.
    assert outcome.steady.open > 3_900
    assert max(outcome.series.connecting[80:]) < 300


def test_workers_that_start_together_are_not_there_at_the_same_moment() -> None:
    starts = Simulation(plan(origin={"restart": 1, "cores": 2}, run=FAR), 4).edges.origin.restart(4)
    assert 1.8 <= starts.min() < starts.max() <= 2.2


def test_a_process_with_a_share_of_a_core_starts_and_opens_as_much_slower() -> None:
    origin = Simulation(plan(origin={"restart": 1, "share": 0.25}, run=FAR), 2).edges.origin
    assert origin.restart(1)[0] == pytest.approx(4, rel=0.11)
    assert origin.doors.service == pytest.approx(4 * 68e-6)


def test_telling_changes_and_fetching_flags_take_time_from_those_who_wait_to_be_let_in() -> None:
    def last(**changed: Any) -> float:
        storm = plan(
            clients=of("flagsmith-python", 6_000, open_over=5),
            edge={"on": False},
            origin={"processes": 2},
            costs={"open_us": 500, "document_us": 500},
            failures=[{"at": 40, "do": "workers", "share": 0.5, "down": 0}],
            run={"seconds": 60},
            **changed,
        )
        [failure] = played(storm).failures
        assert failure.readmission.max_s is not None
        return failure.readmission.max_s

    assert last(changes={"per_environment_per_hour": 3600}) > 1.1 * last(changes={"fetch": False})


def test_who_never_comes_back_by_its_model_gives_up() -> None:
    outcome = played(
        plan(clients=of("flagsmith-android", 1_000), failures=[{"at": 60, "do": "workers"}], run={"seconds": 90})
    )
    [failure] = outcome.failures
    assert failure.gave_up == failure.cut
    assert outcome.series.gave_up[-1] == failure.cut
    assert failure.readmission.count == 0
