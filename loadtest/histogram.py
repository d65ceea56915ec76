"""Latencies in buckets of constant relative width, as HDR histograms have them: exact to 1.6 %, and they add up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

__all__ = ["Histogram", "Pairs"]

Pairs = list[tuple[int, int]]
"""Buckets of a histogram with their counts, as messages and results have them."""

PER_DOUBLING: Final = 64
_BITS: Final = PER_DOUBLING.bit_length()


class Histogram:
    """How many durations, in whole microseconds, fell into which bucket; 64 buckets for each doubling."""

    __slots__ = ("counts",)

    def __init__(self, pairs: Iterable[Sequence[int]] = ()) -> None:
        self.counts: dict[int, int] = {int(bucket): int(count) for bucket, count in pairs}

    def record(self, seconds: float, times: int = 1) -> None:
        """Count a duration; a negative one, of clocks that do not agree, counts as none at all."""
        microseconds = int(seconds * 1e6)
        if microseconds >= PER_DOUBLING:
            shift = microseconds.bit_length() - _BITS
            microseconds = (shift << (_BITS - 1)) + (microseconds >> shift)
        elif microseconds < 0:
            microseconds = 0
        counts = self.counts
        counts[microseconds] = counts.get(microseconds, 0) + times

    def add(self, other: Histogram) -> None:
        """Count what `other` has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def pairs(self) -> list[tuple[int, int]]:
        """Return each bucket with its count, in order: what `Histogram(pairs)` is made of."""
        return sorted(self.counts.items())

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def percentile(self, share: float) -> float | None:
        """Return the seconds that `share` (0 to 1) of all did not exceed, None where there are none.

        It is the upper end of its bucket, so a figure is never better than what was measured.
        """
        total = self.count
        if not total:
            return None
        wanted = max(1, math.ceil(share * total - 1e-9))
        passed = 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= wanted:
                return upper_end(bucket)
        raise AssertionError("a share above 1")

    def distribution(self) -> Iterator[tuple[float, float]]:
        """Yield (seconds, the share of all that did not exceed them) for each bucket: what a plot is drawn from."""
        total, passed = self.count, 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            yield upper_end(bucket), passed / total


def upper_end(bucket: int) -> float:
    """Return the seconds at which a bucket ends; those below 64 µs hold one microsecond each."""
    if bucket < PER_DOUBLING:
        return bucket / 1e6
    exponent, part = divmod(bucket, PER_DOUBLING)
    return (((PER_DOUBLING + part + 1) << (exponent - 1)) - 1) / 1e6
