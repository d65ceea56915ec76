"""`Wait.seconds` and `replace_after` for many clients at once; the scalar ones are what they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.models import Loss, Model
from loadtest.replacing import WORTH_REPLACING, window_of

__all__ = ["CLOCK_AT_START", "Waits", "replace_after"]

Floats = NDArray[np.float64]

MOST_GROWN: Final = 64
CLOCK_AT_START: Final = 0.5
"""Seconds that all clocks show at the start: most failures of plans are at whole ones, where no fraction is added."""


class Waits:
    """The waits of some models, by number of the model."""

    def __init__(self, models: Sequence[Model]) -> None:
        shape = (len(Loss), len(models))
        self._fixed, self._random, self._fixed_factor, self._random_factor, self._cap = (
            np.zeros(shape, dtype=np.float64) for _ in range(5)
        )
        self._longest_retry = np.array([model.longest_retry for model in models])
        self._obeys, self._adds_fraction = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        self.never = np.zeros(shape, dtype=bool)
        for number, model in enumerate(models):
            for loss in Loss:
                wait = model.wait(loss)
                if wait is None:
                    self.never[loss, number] = True
                    continue
                self._fixed[loss, number] = wait.fixed
                self._random[loss, number] = wait.random
                self._fixed_factor[loss, number] = wait.fixed_factor
                self._random_factor[loss, number] = wait.random_factor
                self._cap[loss, number] = wait.cap
                self._obeys[loss, number] = wait.obeys_retry
                self._adds_fraction[loss, number] = wait.adds_fraction

    def seconds(
        self,
        model: NDArray[np.uint8],
        loss: int,
        failures: NDArray[np.uint8],
        retry: Floats,
        chance: np.random.Generator,
        *,
        at: Floats,
    ) -> Floats:
        """Return the seconds that each client waits from `at` on; infinite where its model never comes back."""
        cap = self._cap[loss].take(model)
        fixed, most = self._fixed[loss].take(model), self._random[loss].take(model)
        if failures.max(initial=0) > 1:  # most calls are of clients that had no failure before
            grown = np.clip(failures.astype(np.int16) - 1, 0, MOST_GROWN)
            fixed = fixed * self._fixed_factor[loss].take(model) ** grown
            most = most * self._random_factor[loss].take(model) ** grown
        fixed = np.minimum(cap, fixed)
        if self._obeys[loss].any():
            asked = np.maximum(np.minimum(retry, self._longest_retry.take(model)), fixed)
            fixed = np.where(self._obeys[loss].take(model), asked, fixed)
        waited: Floats = fixed + np.minimum(cap, most) * chance.random(len(model))
        if self._adds_fraction[loss].any():
            adds = self._adds_fraction[loss].take(model)
            waited[adds] += (at[adds] + CLOCK_AT_START) % 1.0
        if self.never[loss].any():
            waited[self.never[loss].take(model)] = np.inf
        return waited


def replace_after(left: Floats, joined: Floats, chance: np.random.Generator) -> Floats:
    """Return the seconds after the head at which each opens its next stream; infinite where it is not worth it."""
    earliest, latest = window_of(left, joined, least=np.minimum, most=np.maximum)
    after: Floats = earliest + (latest - earliest) * chance.random(len(left))
    after[left < WORTH_REPLACING] = np.inf
    return after
