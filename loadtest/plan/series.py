"""Curves of a simulation: what is noted when it happens, or is known to happen, and summed up at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Level", "Rate", "Spread"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Times = Floats | float


class Rate:
    """How often something happens: a count for each bin of `width` seconds."""

    def __init__(self, seconds: float, width: float) -> None:
        self.width = width
        self.bins = int(np.ceil(seconds / width - 1e-9))
        self._counts: Floats = np.zeros(self.bins + 1, dtype=np.float64)  # the last one takes what comes after the run

    def add(self, at: Times, times: Times = 1.0) -> None:
        """Count moments, each `times` as often."""
        self.count(self.places(at), times)

    def places(self, at: Times) -> Places:
        """Return the bins of moments: the same in all curves of one run."""
        places: Places = np.clip(np.atleast_1d(at) / self.width, 0, self.bins).astype(np.intp)
        return places

    def count(self, places: Places, times: Times = 1.0) -> None:
        """Count events by their bins, each `times` as often."""
        if not len(places):
            return
        first = int(places.min())
        found: NDArray[Any] = np.bincount(places - first, weights=None if isinstance(times, float) else times)
        if isinstance(times, float):
            found = found * times
        self._counts[first : first + len(found)] += found

    @property
    def total(self) -> float:
        """All within the run."""
        return float(self._counts[:-1].sum())

    def per_second(self) -> Floats:
        """Return the mean rate in each bin."""
        rates: Floats = self._counts[:-1] / self.width
        return rates


class Level(Rate):
    """How many there are: arrivals less departures, as they are at the end of each bin."""

    def enter(self, at: Times) -> None:
        """Count arrivals."""
        self.add(at)

    def leave(self, at: Times) -> None:
        """Count departures."""
        self.add(at, -1.0)

    def at(self, moment: float) -> float:
        """Return the level at the end of the last bin that is over by `moment`."""
        return float(self._counts[: min(int(moment / self.width + 1e-9), self.bins)].sum())

    def levels(self) -> Floats:
        """Return the level at the end of each bin."""
        levels: Floats = np.cumsum(self._counts[:-1])
        return levels


class Spread:
    """Events that recur evenly over a stretch of time: too many to be counted one by one."""

    def __init__(self, seconds: float, width: float) -> None:
        self._rate = Level(seconds, width)

    def add(self, begin: Floats, end: Floats, count: Floats) -> None:
        """Count `count` events evenly between `begin` and `end` each."""
        rate = count / np.maximum(end - begin, self._rate.width)
        self._rate.add(begin, rate)
        self._rate.add(np.maximum(end, begin + self._rate.width), -rate)

    def per_second(self) -> Floats:
        """Return the rate in each bin."""
        return np.maximum(self._rate.levels(), 0.0)
