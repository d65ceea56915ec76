from __future__ import annotations

from random import Random
from types import MappingProxyType

import pytest

from sdk_client.documents import Document
from sdk_client.refetch import Refetch
from tests.sdk_client.scripted import V1, V2, V3


def labelled(version: int, *, stale: bool = False) -> Document:
    return Document(MappingProxyType({}), version, labelled=True, stale=stale)


def loaded(version: int = V1, *, spread: float = 0.0, seed: int = 1) -> Refetch:
    """Flags at `version` are held and a stream has been open for long; the time is 100."""
    refetch = Refetch(random=Random(seed), spread=spread)
    refetch.begin(0.0)
    refetch.finished(labelled(version), 0.1)
    refetch.connected(50.0)
    return refetch


def due_of(refetch: Refetch) -> float | None:
    return refetch.due


def test_the_first_fetch_is_due_at_once_and_asks_for_no_version() -> None:
    refetch = Refetch(random=Random(1))
    assert refetch.due == 0.0
    assert refetch.begin(0.0) == 0
    assert refetch.due is None


def test_a_live_event_is_fetched_without_any_delay() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    assert refetch.due == 100.0
    assert refetch.begin(100.0) == V2


@pytest.mark.parametrize("version", [V1, V1 - 1, 1])
def test_an_event_that_is_not_newer_than_the_flags_held_costs_nothing(version: int) -> None:
    refetch = loaded()
    refetch.announce(version, 100.0)
    assert refetch.due is None


def test_after_connecting_the_replay_is_let_pass_before_one_fetch_of_its_newest() -> None:
    refetch = loaded()
    refetch.connected(200.0)
    for step, version in enumerate([V2, V3, V2]):
        refetch.announce(version, 200.0 + step / 100)
        assert refetch.due == pytest.approx(200.05)
    assert refetch.begin(200.05) == V3


def test_the_wait_is_a_random_share_of_the_spread_and_is_drawn_once() -> None:
    shares = []
    for seed in range(100):
        refetch = loaded(spread=8.0, seed=seed)
        refetch.announce(V2, 100.0)
        due = refetch.due
        assert due is not None
        shares.append(due - 100.0)
        refetch.announce(V3, due - 0.001)
        assert (refetch.due or 0.0) <= due, "a stream of changes must not put it off for ever"
    assert 0 <= min(shares) < 0.5
    assert 7.5 < max(shares) <= 8.0


def test_what_is_announced_during_a_flight_is_fetched_after_it() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    refetch.begin(100.0)
    refetch.announce(V3, 100.1)
    assert due_of(refetch) is None, "one flight at a time"
    assert refetch.finished(labelled(V2), 100.2)
    assert due_of(refetch) == 100.2
    assert refetch.begin(100.2) == V3
    refetch.finished(labelled(V3), 100.3)
    assert due_of(refetch) is None
    assert refetch.is_met


def test_a_flight_that_brings_more_than_asked_saves_the_next() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    refetch.begin(100.0)
    refetch.announce(V3, 100.1)
    refetch.finished(labelled(V3), 100.2)
    assert refetch.due is None


def test_an_unlabelled_document_is_believed_to_be_what_was_asked_for() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    refetch.begin(100.0)
    assert refetch.finished(Document(MappingProxyType({}), version=V1), 100.1), "its own time may lag by a minute"
    assert refetch.held == V2
    assert refetch.due is None


def test_an_older_document_is_not_taken() -> None:
    refetch = loaded(V2)
    refetch.announce(V3, 100.0)
    refetch.begin(100.0)
    assert not refetch.finished(labelled(V1), 100.1)
    assert refetch.held == V2
    assert refetch.due is not None


def test_failures_back_off_and_a_new_announcement_does_not_hurry_them() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    now = 100.0
    for failure in range(1, 12):
        refetch.begin(now)
        refetch.failed(now)
        due = refetch.due
        assert due is not None
        assert now <= due <= now + min(30.0, 0.5 * 2 ** (failure - 1))
        refetch.announce(V2 + failure, now)
        assert refetch.due == due
        now = due
    refetch.begin(now)
    refetch.finished(labelled(V3), now)
    assert refetch.is_met


def test_the_servers_retry_after_is_waited_out() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    refetch.begin(100.0)
    refetch.failed(100.0, retry_after=20.0)
    assert refetch.due is not None
    assert 120.0 <= refetch.due <= 120.5


def test_a_stream_that_opens_brings_a_waiting_fetch_forward() -> None:
    refetch = loaded()
    refetch.announce(V2, 100.0)
    now = 100.0
    while refetch.due is None or refetch.due < now + 2.0:
        refetch.begin(now)
        refetch.failed(now)
        now += 1.0
    now -= 1.0
    refetch.connected(now + 0.5)
    assert refetch.due == now + 0.55


def test_after_a_short_outage_the_next_try_is_soon_however_many_there_were() -> None:
    for seed in range(50):
        refetch = Refetch(random=Random(seed), now=100.0)
        refetch.begin(100.0)
        now = 100.0
        while now < 103.0:
            refetch.failed(now)
            assert refetch.due is not None
            assert refetch.due <= now + max(1.0, now - 100.0)
            now = refetch.due
            refetch.begin(now)
        assert now <= 106.0, "an outage of three seconds is over after six"


def test_each_version_has_three_more_tries_of_its_own_within_seconds_and_then_one_a_minute() -> None:
    refetch = loaded()
    now = 100.0
    for version in (V2, V3):
        refetch.announce(version, now)
        began = now
        waits = []
        for _ in range(6):
            assert refetch.due is not None
            waits.append(refetch.due - now)
            now = refetch.due
            assert refetch.begin(now) == version
            refetch.finished(labelled(V1), now)
            refetch.announce(version, now)
        assert waits[0] <= 0.2
        for wait, (least, most) in zip(waits[1:], [(0.5, 1), (1, 2), (2, 4), (54, 66), (54, 66)], strict=True):
            assert least <= wait <= most
        assert now > began + 100


def test_flags_at_hand_are_not_replaced_by_older_ones() -> None:
    refetch = Refetch(random=Random(1), now=100.0)
    refetch.begin_with(V2, loaded=False)
    refetch.begin(100.0)
    assert not refetch.finished(labelled(V1), 100.1)
    assert refetch.loaded
    assert refetch.is_met, "nothing newer was announced"
    refetch.poll(200.0)
    refetch.begin(200.0)
    assert refetch.finished(labelled(V3), 200.1)


def test_a_server_without_versions_replaces_flags_at_hand() -> None:
    refetch = Refetch(random=Random(1), now=100.0)
    refetch.begin_with(V2, loaded=False)
    refetch.begin(100.0)
    assert refetch.finished(Document(MappingProxyType({})), 100.1)
    assert refetch.held == V2
