"""Latencies as benchmarks read them, in milliseconds; the buckets are those of the load test and of native/swarm.c."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadtest.histogram import Histogram as Buckets

__all__ = ["Histogram", "median"]


class Histogram:
    """How many latencies fell into which bucket; adds up over processes."""

    def __init__(self, pairs: Iterable[Sequence[int]] = ()) -> None:
        self._buckets = Buckets(pairs)

    def __add__(self, other: Histogram) -> Histogram:
        both = Histogram(self._buckets.pairs())
        both._buckets.add(other._buckets)
        return both

    @property
    def count(self) -> int:
        """How many there are."""
        return self._buckets.count

    def percentile(self, share: float) -> float:
        """Return the milliseconds that `share` (0 to 1) of all did not exceed; 0.0 when there are none."""
        return (self._buckets.percentile(share) or 0.0) * 1000

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
