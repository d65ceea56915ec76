"""A histogram's figures are at most a bucket above the truth and never below it, however it came together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import Histogram

durations = st.lists(st.integers(0, 10**10), min_size=1, max_size=60)


def filled(microseconds: list[int]) -> Histogram:
    histogram = Histogram()
    for each in microseconds:
        histogram.record((each + 0.5) / 1e6)
    return histogram


@given(durations, st.floats(0, 1))
def test_a_percentile_is_at_most_one_bucket_above_the_truth(microseconds: list[int], share: float) -> None:
    true = sorted(microseconds)[max(1, math.ceil(share * len(microseconds) - 1e-9)) - 1]
    told = filled(microseconds).percentile(share)
    assert told is not None
    assert true <= round(told * 1e6) <= true * (1 + 1 / 64) + 1


@given(durations, durations)
def test_the_sum_of_two_is_the_histogram_of_all(one: list[int], other: list[int]) -> None:
    both = Histogram(filled(one).pairs())
    both.add(filled(other))
    assert both.pairs() == filled(one + other).pairs()
    assert both.count == len(one) + len(other)
    assert list(both.distribution())[-1][1] == pytest.approx(1.0)


def test_nothing_has_no_percentile_and_a_negative_duration_counts_as_none_at_all() -> None:
    assert Histogram().percentile(0.5) is None
    histogram = Histogram()
    histogram.record(-0.5)
    assert histogram.percentile(1.0) == 0.0
