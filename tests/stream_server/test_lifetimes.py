"""Lifetimes, join windows and retry times of streams, in service and in a drain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stream_server.drain import Drain
from stream_server.lifetimes import Life, Lifetimes
from stream_server.metrics import Metrics
from tests.stream_server.raw import settings_for


def lives(
    *,
    number: int = 200,
    draining: float | None = None,
    of: Callable[[Lifetimes], Life] = Lifetimes.new,
    **changes: Any,
) -> list[Life]:
    settings = settings_for(**changes)
    drain = Drain(draining or 0.0, Metrics())
    if draining is not None:
        drain.begin()
    lifetimes = Lifetimes(settings, drain)
    return [of(lifetimes) for _ in range(number)]


def test_behind_an_edge_all_lives_are_the_same() -> None:
    assert set(lives(edge=True, lifetime=30, join_window=20, retry=2)) == {Life(30, 20, 2000)}


def test_without_an_edge_lives_are_random_within_the_lifetime_and_so_is_retry() -> None:
    given = lives(edge=False, lifetime=30, join_window=20)
    assert all(24 <= life.seconds <= 30 for life in given)
    assert all(1000 <= life.retry <= 3000 for life in given)
    assert len({life.seconds for life in given}) > 50


@pytest.mark.parametrize("tiers", [1, 2])
@pytest.mark.parametrize("draining", [None, 60.0, 10.0, 4.0, 1.0])
@pytest.mark.parametrize("edge", [True, False])
@pytest.mark.parametrize("of", [Lifetimes.new, Lifetimes.overload])
def test_join_window_lies_a_second_and_one_a_tier_before_the_end(
    of: Callable[[Lifetimes], Life], edge: bool, draining: float | None, tiers: int
) -> None:
    for life in lives(of=of, edge=edge, draining=draining, edge_tiers=tiers, lifetime=30, join_window=20):
        assert life.join_window == 0 or life.join_window <= life.seconds - 1 - tiers


@pytest.mark.parametrize("edge", [True, False])
def test_new_stream_of_a_drain_ends_within_it_and_lives_two_seconds_at_least(edge: bool) -> None:
    given = lives(edge=edge, draining=20, lifetime=30)
    assert all(2 <= life.seconds < 20 for life in given)
    assert len({life.seconds for life in given}) > 50


def test_new_stream_of_a_drain_that_is_nearly_over_gets_what_is_left() -> None:
    assert all(0 < life.seconds < 1.5 for life in lives(draining=1.5))
    assert all(life.seconds > 0 for life in lives(draining=0))


@pytest.mark.parametrize("edge", [True, False])
def test_who_there_is_no_room_for_gets_five_to_ten_seconds_at_random(edge: bool) -> None:
    given = lives(of=Lifetimes.overload, edge=edge, lifetime=30, join_window=20)
    assert all(5 <= life.seconds <= 10 for life in given)
    assert all(3 <= life.join_window <= 8 for life in given)
    assert len({life.seconds for life in given}) > 50


@pytest.mark.parametrize(("lifetime", "least"), [(2, 2), (3, 2), (6, 3)])
def test_no_stream_of_overload_lives_longer_than_one_of_the_setting_or_less_than_two_seconds(
    lifetime: float, least: float
) -> None:
    assert all(
        least <= life.seconds <= lifetime for life in lives(of=Lifetimes.overload, lifetime=lifetime, join_window=0)
    )


def test_a_stream_of_overload_ends_within_the_drain() -> None:
    given = lives(of=Lifetimes.overload, draining=6, lifetime=30)
    assert all(2 <= life.seconds < 6 for life in given)
    assert all(2 <= life.seconds <= 10 for life in lives(of=Lifetimes.overload, draining=40, lifetime=30))


def test_headers_say_what_the_life_is() -> None:
    headers = dict(Life(29.5, 20, 2000).headers)
    assert headers[b"x-stream-lifetime"] == b"29.5"
    assert headers[b"cache-control"] == b"public, max-age=0, s-maxage=20"
    assert headers[b"surrogate-control"] == b"max-age=20"
    assert headers[b"content-type"] == b"text/event-stream"
