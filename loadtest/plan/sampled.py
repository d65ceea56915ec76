"""Figures of two curves that have their points at other moments."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

__all__ = ["busiest", "counted", "padded", "sampled"]

SECOND: Final = 1.0
SOME: Final = 1e-6


def counted(at_s: list[float], rates: list[float], until: float) -> int:
    """Return how often something happened until then: a run goes on a while, for its clients to become quiet."""
    lasted = [at - before for before, at in pairwise([0.0, *at_s])]
    return round(sum(rate * width for at, rate, width in zip(at_s, rates, lasted, strict=False) if at <= until + SOME))


def busiest(at_s: list[float], rates: list[float], begin: float, end: float) -> float | None:
    """Return the mean rate of the busiest whole second between two moments, or of a point that is longer."""
    found = [(at, rate) for at, rate in zip(at_s, rates, strict=False) if begin < at <= end]
    if not found:
        return None
    width = at_s[1] - at_s[0] if len(at_s) > 1 else SECOND
    points = max(1, round(SECOND / width))
    values = [rate for _, rate in found]
    # Less than a second there may be between two faults.
    return max(sum(values[place : place + points]) / points for place in range(max(1, len(values) - points + 1)))


def sampled(values: list[int] | list[float], at_s: list[float], moments: list[float]) -> list[float | None]:
    """Return the values at the moments that come last before each of `moments`."""
    found: list[float | None] = []
    place = 0
    for moment in moments:
        while place + 1 < len(at_s) and at_s[place + 1] <= moment:
            place += 1
        found.append(values[place])
    return found


def padded(values: list[int] | list[float] | list[int | None], moments: list[float]) -> list[float | None]:
    """Return as many of the first values as there are moments; None where there are none left."""
    first: list[float | None] = [*values[: len(moments)]]
    return first + [None] * (len(moments) - len(first))
