"""Latencies as the swarm counts them: 64 buckets for each doubling, so that a figure is exact to 1.6 %."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["Histogram", "median"]

PER_DOUBLING = 64


def _microseconds(bucket: int) -> int:
    """Return the lower bound of a bucket; the inverse of `bucket_of` in native/swarm.c."""
    if bucket < PER_DOUBLING:
        return bucket
    exponent, part = divmod(bucket, PER_DOUBLING)
    return (PER_DOUBLING + part) << (exponent - 1)


class Histogram:
    """How many latencies fell into which bucket; adds up over processes."""

    def __init__(self, pairs: Iterable[Sequence[int]] = ()) -> None:
        self._counts = Counter({int(bucket): int(count) for bucket, count in pairs})

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram((self._counts + other._counts).items())

    @property
    def count(self) -> int:
        """How many there are."""
        return self._counts.total()

    def percentile(self, share: float) -> float:
        """Return the milliseconds that `share` (0 to 1) of all did not exceed; 0.0 when there are none."""
        wanted = share * self.count
        passed = 0
        for bucket in sorted(self._counts):
            passed += self._counts[bucket]
            if passed >= wanted:
                return _microseconds(bucket) / 1000
        return 0.0

    @property
    def worst(self) -> float:
        """The longest, in milliseconds."""
        return self.percentile(1.0)


def median(values: Iterable[float]) -> float:
    """Return the middle value; 0.0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
