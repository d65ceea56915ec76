"""What a plot's legend says of a whole line: the figure that the tables have, which points of a plot only come near."""

from __future__ import annotations

from loadtest.histogram import Histogram
from loadtest.report import figures

__all__ = ["p50_s", "p99_ms"]


def p99_ms(latencies: Histogram) -> str:
    """Return ``p99 27.6 ms``; nothing where there are none."""
    seconds = latencies.percentile(0.99)
    return "" if seconds is None else f"p99 {figures.ms(1e3 * seconds)}"


def p50_s(durations: Histogram) -> str:
    """Return ``p50 1.36 s``; nothing where there are none."""
    seconds = durations.percentile(0.5)
    return "" if seconds is None else f"p50 {figures.s(seconds)}"
