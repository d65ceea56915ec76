"""Durations, as several parts of results have them."""

from __future__ import annotations

from typing import Any

import msgspec

from loadtest.histogram import Histogram, Pairs

__all__ = ["Seconds", "seconds"]


class Seconds(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds."""

    count: int = 0
    p50_s: float | None = None
    p90_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None
    histogram: Pairs = []


def seconds(histogram: Histogram) -> dict[str, Any]:
    """Return the fields of `Seconds` for a histogram."""
    return {
        "count": histogram.count,
        **{
            name: histogram.percentile(share)
            for name, share in (("p50_s", 0.5), ("p90_s", 0.9), ("p99_s", 0.99), ("max_s", 1.0))
        },
        "histogram": histogram.pairs(),
    }
