from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from loadtest.models import MODELS, Loss
from loadtest.plan.waits import CLOCK_AT_START, Waits, replace_after
from loadtest.replacing import replace_after as replace_after_one
from loadtest.replacing import replacing_window

DRAWS = 20_000
NAMES = list(MODELS)


def quantiles(values: list[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.quantile(np.asarray(values), [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    return found


@pytest.mark.parametrize("failures", [0, 1, 3, 9, 200])
@pytest.mark.parametrize("loss", list(Loss), ids=lambda loss: loss.name.lower())
def test_every_model_waits_as_long_in_arrays_as_it_does_alone(loss: Loss, failures: int) -> None:
    chance, many = Random(7), np.random.default_rng(7)
    waits = Waits([MODELS[name] for name in NAMES])
    for number, name in enumerate(NAMES):
        model = np.full(2_000, number, dtype=np.uint8)
        at = many.random(2_000) * 9
        failed = np.full(2_000, failures, dtype=np.uint8)
        drawn = waits.seconds(model, loss, failed, np.full(2_000, 2.0), many, at=at)
        wait = MODELS[name].wait(loss)
        if wait is None:
            assert np.isinf(drawn).all()
            continue
        retry = min(2.0, MODELS[name].longest_retry)
        alone = [wait.seconds(failures, retry, chance, moment + CLOCK_AT_START) for moment in at]
        spread = max(alone) - min(alone)
        assert np.abs(quantiles(alone) - quantiles(drawn)).max() <= 0.06 * spread + 1e-9


def test_a_wait_is_never_outside_of_what_the_model_bounds() -> None:
    waits = Waits([MODELS["flagstream"]])
    count = DRAWS
    for failures in range(12):
        drawn = waits.seconds(
            np.zeros(count, dtype=np.uint8),
            Loss.CUT,
            np.full(count, failures, dtype=np.uint8),
            np.full(count, 2.0),
            np.random.default_rng(failures),
            at=np.zeros(count),
        )
        assert drawn.min() >= 2.0
        assert drawn.max() <= 2.0 + min(30.0, 2.0 ** max(failures - 1, 0))


def test_go_clients_that_are_cut_at_one_moment_come_back_together_and_others_when_their_clocks_say() -> None:
    waits, at = Waits([MODELS["flagsmith-go"]]), np.array([60.0, 60.0, 60.125, 60.75])
    zeros, chance = np.zeros(4), np.random.default_rng(1)
    drawn = waits.seconds(zeros.astype(np.uint8), Loss.CUT, np.ones(4, dtype=np.uint8), zeros, chance, at=at)
    assert at + drawn == pytest.approx([60.7, 60.7, 60.95, 61.2])


@pytest.mark.parametrize(
    ("left", "joined"), [(30.0, 20.0), (30.0, 0.0), (12.0, 11.0), (5.0, 2.0), (3.0, 3.0), (600.0, 300.0)]
)
def test_streams_are_replaced_within_the_same_window(left: float, joined: float) -> None:
    chance = Random(3)
    alone = [replace_after_one(left, joined, chance) for _ in range(4_000)]
    drawn = replace_after(np.full(4_000, left), np.full(4_000, joined), np.random.default_rng(3))
    window = replacing_window(left, joined)
    assert window is not None
    assert window[0] - 1e-9 <= drawn.min()
    assert drawn.max() <= window[1] + 1e-9
    known = [each for each in alone if each is not None]
    assert np.abs(quantiles(known) - quantiles(drawn)).max() <= 0.05 * (window[1] - window[0]) + 1e-9


def test_a_stream_about_to_end_is_not_replaced() -> None:
    assert replace_after_one(2.9, 0.0, Random(1)) is None
    assert math.isinf(replace_after(np.array([2.9]), np.array([0.0]), np.random.default_rng(1))[0])
