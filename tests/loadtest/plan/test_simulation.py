"""The simulator held to what reason says it must give, in cases where that can be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.models import MODELS
from loadtest.plan.fleet import GONE, IDLE, OPENING, RUNNING
from loadtest.plan.planning import played, series_of
from loadtest.plan.settings import Plan
from loadtest.plan.simulation import Simulation
from loadtest.plan.steady import steady_of
from tests.loadtest.plan.small_plans import FAR, of, plan


@pytest.mark.parametrize("model", ["flagsmith-js", "flagsmith-ios", "eventsource", "flagstream"])
def test_a_fleet_that_goes_directly_opens_as_often_as_its_lifetime_and_wait_say(model: str) -> None:
    from loadtest.plan.demand import cycle  # noqa: PLC0415

    alone = plan(clients=of(model, 4_000), edge={"on": False}, origin={"processes": 4}, run=FAR)
    outcome = played(alone)
    expected = 4_000 / cycle(MODELS[model], alone, edge=False)
    assert outcome.steady.opens_per_s == pytest.approx(expected, rel=0.05)


def test_a_plan_that_sees_no_steady_state_says_so_and_is_priced_by_formula() -> None:
    given = {"clients": of("flagsmith-js", 1_000), "streams": {"lifetime": 600, "join_window": 400}}
    short = played(plan(**given, run={"seconds": 60}))
    assert "No whole lifetime" in short.notes[0]
    whole = played(plan(**given, run={"seconds": 1_300, "step": 0.25}))
    assert whole.notes == []
    requests = [outcome.costs[1].cdn_requests for outcome in (short, whole)]
    # A request every 600 s and 1.5 s of waiting, and two documents an hour.
    assert requests[0] == pytest.approx(1_000 * (1 / 601.5 + 2 / 3600) * 2_628_000 / 1e4 * 0.0095)
    assert requests[0] == pytest.approx(requests[1], rel=0.1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"failures": [{"at": 80, "do": "origin", "down": 60}]}, "origin killed for 60 s at 80 s lasts beyond the run"),
        ({"clients": of("flagstream", 10, mix=[{"model": "flagstream", "via": "origin"}])}, "100 % of the clients go"),
        ({"changes": {"per_environment_per_hour": 36_000}}, "at most every 0.25 s: 4 events a second"),
        ({"origin": {"processes": 1}, "costs": {"streams_per_process": 1}}, "the 2 at the origin are simulated as if"),
    ],
    ids=["outage beyond the run", "past the edge", "coalesced", "more streams than files"],
)
def test_what_is_not_as_one_may_expect_is_noted(given: dict[str, Any], says: str) -> None:
    outcome = played(plan(**{"clients": of("flagstream", 10), "run": {"seconds": 130, "step": 0.25}, **given}))
    assert any(says in note for note in outcome.notes), outcome.notes


def test_one_environment_at_one_pop_is_one_stream_and_two_while_they_overlap() -> None:
    simulation = Simulation(plan(clients=of("flagstream", 2_000), run=FAR), 2)
    simulation.run()
    streams = np.array(series_of(simulation).origin_streams)[16:]
    assert set(streams.tolist()) == {1, 2}


def test_each_pop_holds_a_stream_of_its_own_and_a_shield_holds_one_for_all() -> None:
    many = {"regions": [{"name": "here", "pops": 20}], "clients": of("flagsmith-js", 4_000), "run": FAR}
    without = played(plan(**many)).steady
    shielded = played(plan(**many, edge={"shield": "one"}, streams={"join_window": 20})).steady
    assert 20 <= without.origin_streams_peak <= 40
    assert 1 <= shielded.origin_streams_peak <= 2


def test_without_a_join_window_every_request_opens_a_stream_at_the_origin() -> None:
    outcome = played(plan(clients=of("flagsmith-js", 1_000), streams={"join_window": 0}, run=FAR))
    assert outcome.steady.origin_opens_per_s == pytest.approx(outcome.steady.opens_per_s)
    assert outcome.steady.origin_streams_p50 > 900


def test_clients_of_a_lost_pop_are_back_elsewhere_and_cost_the_origin_next_to_nothing() -> None:
    outcome = played(
        plan(
            regions=[{"name": "here", "pops": 4}],
            clients=of("flagsmith-js", 4_000),
            failures=[{"at": 65, "do": "pop", "down": 20, "reroute": 1}],
            run={"seconds": 100},
        )
    )
    [failure] = outcome.failures
    assert 800 < failure.cut < 1_200
    assert failure.back.count == pytest.approx(failure.cut, abs=40)  # some were between two streams
    assert failure.not_back == 0
    assert failure.origin_opens_per_s_peak <= 16


def test_while_the_origin_is_away_everybody_is_in_the_waiting_room_and_few_ask_the_origin() -> None:
    outcome = played(
        plan(
            clients=of("flagstream", 3_000),
            failures=[{"at": 70, "do": "origin", "down": 10}],
            run={"seconds": 110},
        )
    )
    [failure] = outcome.failures
    assert failure.readmission.max_s is not None
    assert failure.readmission.max_s < 5
    assert failure.back.p50_s is not None
    assert failure.back.p50_s > 10
    assert failure.not_back == 0
    assert max(outcome.series.in_waiting_room) == 3_000


def test_clients_of_a_lost_edge_go_to_the_origin_and_come_back_to_the_edge() -> None:
    outcome = played(
        plan(
            clients=of("flagsmith-js", 3_000),
            origin={"processes": 2},
            failures=[{"at": 65, "do": "cdn", "down": 20, "reroute": 2}],
            run=FAR,
        )
    )
    assert outcome.failures[0].not_back == 0
    assert max(outcome.series.origin_streams) >= 2_900
    assert outcome.series.origin_streams[-1] <= 4


FAULTS = [
    {"at": 40, "do": "pop", "down": 10, "reroute": 2},
    {"at": 60, "do": "workers", "down": 1, "share": 0.5},
    {"at": 75, "do": "origin", "down": 8},
    {"at": 100, "do": "cdn", "down": 10},
]


STEADY_MODELS = ("flagsmith-js", "flagsmith-python", "flagsmith-android", "eventsource", "flagstream")


@pytest.mark.parametrize("while_down", ["waiting-room", "last-resort", "error"])
@pytest.mark.parametrize("shield", ["none", "region"])
def test_no_client_is_lost_or_counted_twice(while_down: str, shield: str) -> None:
    simulation = Simulation(
        Plan.model_validate(
            {
                "clients": {"count": 1_500, "open_over": 10},
                "regions": [{"name": "a", "pops": 3, "rtt_ms": 10}, {"name": "b", "pops": 2, "rtt_ms": 30}],
                "environments": {"count": 5},
                "edge": {"while_down": while_down, "shield": shield},
                "origin": {"backlog": 50, "processes": 2},
                "costs": {"open_us": 2_000},
                "failures": FAULTS,
                "run": {"seconds": 130, "step": 0.1},
            }
        ),
        2,
    )
    fleet = simulation.fleet
    seen: list[tuple[float, int, int, int]] = []
    while simulation.now < 130:
        now = simulation.advance()
        running = (fleet.state == RUNNING) & (fleet.ends > now)
        seen.append(
            (
                now,
                int((running & (fleet.opened <= now)).sum()),
                int((running & (fleet.opened > now)).sum()),
                int((fleet.state == GONE).sum()),
            )
        )
        assert np.isin(fleet.state, [IDLE, OPENING, RUNNING, GONE]).all()
        assert np.isfinite(fleet.due[fleet.state != GONE]).all()
        assert (fleet.due[fleet.state != GONE] >= now).all()
    simulation.curves.finish(fleet)
    series = series_of(simulation)
    for now, is_open, _, gone in seen:
        place = round(now / 0.25) - 1
        if any(fault["at"] == now for fault in FAULTS):
            continue  # a bin ends before what happens at its end
        assert abs(series.open[place] - is_open) <= 2
        assert series.gave_up[place] <= gone
    begun = np.array(simulation.curves.began.levels())
    parts = np.array(series.open) + np.array(series.connecting) + np.array(series.waiting) + np.array(series.gave_up)
    np.testing.assert_allclose(parts, begun, atol=1e-6)
    assert min(series.open) >= 0
    assert min(series.connecting) >= 0
    assert min(series.waiting) >= 0
    assert min(series.in_waiting_room) >= 0
    assert min(series.origin_streams) >= 0
    assert series.gave_up[-1] == int((fleet.state == GONE).sum())


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    def opens(seed: int) -> list[float]:
        simulation = Simulation(plan(clients=of("flagstream", 500), run={"seed": seed, "seconds": 40, "step": 0.1}), 2)
        return [float(value) for value in simulation.run().opens.per_second()]

    first = opens(3)
    assert opens(3) == first
    assert opens(4) != first


def test_a_small_run_gives_the_figures_that_it_always_gave() -> None:
    """What is made faster must not become another simulation; a change of the model changes these, and says why."""
    outcome = played(
        Plan.model_validate(
            {
                "clients": {"count": 2_000, "open_over": 10, "mix": [{"model": name} for name in STEADY_MODELS]},
                "regions": [{"name": "a", "pops": 3, "rtt_ms": 10}, {"name": "b", "pops": 2, "rtt_ms": 30}],
                "environments": {"count": 5},
                "edge": {"shield": "region"},
                "origin": {"backlog": 50, "processes": 2},
                "costs": {"open_us": 2_000},
                "failures": FAULTS,
                "run": {"seconds": 130, "step": 0.1},
            }
        )
    )
    found = [(each.cut, each.gave_up, each.back.count, each.back.p99_s) for each in outcome.failures]
    series = outcome.series
    assert found == [(354, 58, 296, 4.57), (495, 74, 421, 3.02), (1603, 268, 1337, 15.24), (1600, 0, 1327, 17.41)]
    assert (sum(series.open), sum(series.origin_streams), sum(series.waiting)) == (799_675, 132_507, 53_368)


def test_half_the_step_gives_the_same_figures() -> None:
    def figures(step: float) -> list[float]:
        outcome = played(
            Plan.model_validate(
                {
                    "clients": {"count": 8_000, "open_over": 10},
                    "regions": [{"name": "here", "pops": 4}],
                    "environments": {"count": 5},
                    "failures": [{"at": 45, "do": "pop", "down": 10}, {"at": 65, "do": "origin", "down": 6}],
                    "run": {"seconds": 100, "step": step},
                }
            )
        )
        found = [outcome.steady.opens_per_s, outcome.steady.origin_streams_p50, outcome.steady.open]
        for failure in outcome.failures:
            assert failure.back.p50_s is not None
            assert failure.back.p99_s is not None
            found += [failure.back.p50_s, failure.back.p99_s]
        return found

    assert figures(0.05) == pytest.approx(figures(0.025), rel=0.05)


def test_the_steady_state_is_whole_lifetimes_before_the_first_failure() -> None:
    steady_plan = Plan.model_validate({"clients": {"count": 100}, "failures": [{"at": 130, "do": "origin"}]})
    simulation = Simulation(steady_plan, 2)
    simulation.run()
    steady = steady_of(steady_plan, series_of(simulation))
    assert (steady.since_s, steady.until_s) == (70.0, 130.0)
