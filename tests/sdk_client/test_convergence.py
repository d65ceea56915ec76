from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdk_client import Status
from tests.sdk_client.simulation import DocumentPlan, StreamPlan, World

BAD_TIMES = 100.0
"""Seconds during which the plans rule."""

RECOVERY = 180.0
"""Seconds after which all is well again: watchdog, back-offs at their caps, and the patience with an old document."""

STREAMS = st.lists(
    st.builds(
        StreamPlan,
        fault=st.sampled_from(["refused", "mute", "status", "type", "cut", "ends", "silent", "replay", "good"]),
        lasts=st.sampled_from([0.0, 0.01, 0.9, 1.0, 1.5, 5.0, 30.0]),
        delay=st.sampled_from([0.0, 0.001, 0.3, 4.0]),
    ),
    max_size=120,
)
DOCUMENTS = st.lists(
    st.builds(
        DocumentPlan,
        fault=st.sampled_from(["fails", "older", "stale", "unlabelled", "slow", "good"]),
        takes=st.sampled_from([0.001, 0.2, 5.0]),
    ),
    max_size=200,
)
MOMENTS = st.lists(st.floats(0.0, BAD_TIMES), max_size=20)


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), streams=STREAMS, documents=DOCUMENTS, changes=MOMENTS, wakes=MOMENTS)
def test_under_any_schedule_it_ends_at_the_newest_version_with_bounded_requests(
    seed: int, streams: list[StreamPlan], documents: list[DocumentPlan], changes: list[float], wakes: list[float]
) -> None:
    world = World(seed, streams, documents, holds_at=BAD_TIMES)
    for at in changes:
        world.after(at, world.change)
    for at in wakes:
        world.after(at, world.wake)
    world.start()
    world.run(BAD_TIMES + RECOVERY)
    assert world.client.refetch.held == world.version
    assert world.client.is_current
    assert world.client.status is Status.CURRENT

    apart = [b - a for a, b in itertools.pairwise(world.opened_at)]
    assert all(gap >= 1.0 - 1e-9 for gap in apart), "never more than one stream a second"
    assert world.at_once <= 2, "the old one and the next"
    per_version = 4 * (len(changes) + 1)
    assert len(world.fetched_at) <= per_version + 2 * len(world.opened_at) + 40

    world.measure()
    for at in range(120):
        world.after(at + Random(seed + at).random(), world.change)
    world.run(world.now + 125.0)
    assert world.client.refetch.held == world.version
    assert world.behind < 0.3, "once the network holds nothing is missed or late, over four and more rotations"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fault", ["refused", "mute", "status", "type", "cut", "ends", "silent"])
def test_an_hour_of_one_fault_costs_few_requests_and_is_over_soon_after_it_is(fault: str, seed: int) -> None:
    plan = StreamPlan(fault, lasts=0.0, delay=0.001)  # type: ignore[arg-type]
    world = World(seed, itertools.repeat(plan), (), holds_at=3600.0)
    world.start()
    world.run(3600.0)
    assert len(world.opened_at) <= 330, "one in eleven seconds"
    assert len(world.fetched_at) <= 68, "the first, and about one in a minute"
    world.change()
    world.run(3600.0 + 80.0)
    assert world.client.refetch.held == world.version
    assert world.client.is_current


@pytest.mark.parametrize("lasts", [2.0, 5.0])
def test_an_hour_of_streams_that_are_cut_after_seconds_is_no_storm_and_loses_nothing(lasts: float) -> None:
    world = World(3, itertools.repeat(StreamPlan("cut", lasts, 0.001)), (), holds_at=3600.0)
    for at in range(0, 3600, 60):
        world.after(at, world.change)
    world.start()
    world.run(3600.0)
    assert len(world.opened_at) <= 330, "one in eleven seconds"
    assert world.behind <= 31.0, "what is announced between two streams is learnt at the next one"


@pytest.mark.parametrize("fault", ["fails", "stale"])
def test_an_hour_without_documents_costs_few_requests_and_is_over_soon_after_it_is(fault: str) -> None:
    plan = DocumentPlan(fault, takes=0.01)  # type: ignore[arg-type]
    world = World(3, (), itertools.repeat(plan), holds_at=3600.0)
    world.after(1.0, world.change)
    world.start()
    world.run(3600.0)
    assert len(world.fetched_at) <= 500, "one in seven seconds"
    assert world.client.status.value == ("starting" if fault == "fails" else "stale")
    world.run(3600.0 + 40.0)
    assert world.client.refetch.held == world.version
    assert world.client.status is Status.CURRENT


def test_a_server_that_keeps_answering_an_older_document_is_asked_four_times_and_then_now_and_then() -> None:
    world = World(3, (), itertools.repeat(DocumentPlan("older", takes=0.01)), holds_at=3600.0)
    world.start()
    world.run(1.0)
    world.change()
    before = len(world.fetched_at)
    world.run(30.0)
    assert len(world.fetched_at) - before == 4
    world.run(3600.0)
    assert len(world.fetched_at) - before <= 4 + 3600 / 60
    world.run(3600.0 + 100.0)
    assert world.client.refetch.held == world.version
