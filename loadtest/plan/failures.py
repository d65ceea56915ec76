"""What each failure did: to whom, for how long, and what it asked of edge and origin."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.plan.curves import TICK
from loadtest.plan.fleet import GONE
from loadtest.plan.outcome import Away, FailureOutcome, Series
from loadtest.plan.settings import Failure, Plan
from loadtest.plan.simulation import Simulation

__all__ = ["FAILURES", "described", "failure_outcome"]

FAILURES: Final = {
    "pop": "POP lost",
    "origin": "origin killed",
    "workers": "workers killed",
    "cdn": "whole edge lost",
    "deploy": "deploy in place",
}


def failure_outcome(plan: Plan, number: int, simulation: Simulation, series: Series) -> FailureOutcome:
    """Return what the `number`-th failure of a plan did."""
    failure, curves, fleet = plan.failures[number], simulation.curves, simulation.fleet
    ordered = sorted(plan.failures, key=lambda each: each.at)
    place = ordered.index(failure)
    until = ordered[place + 1].at if place + 1 < len(ordered) else plan.run.seconds
    width = plan.run.bin
    first, last = round(failure.at / width), max(round(until / width), round(failure.at / width) + 1)
    open_now = np.array(series.open) - np.array(series.in_waiting_room)
    gave_up = series.gave_up[last - 1] - (series.gave_up[first - 1] if first else 0)
    awaits = fleet.awaits[fleet.state != GONE]
    missing = int(((awaits >= failure.at - TICK) & (awaits < until - TICK)).sum())
    return FailureOutcome(
        at_s=failure.at,
        what=described(failure),
        cut=int(curves.cut[number]),
        open_least=int(open_now[first:last].min()),
        gave_up=int(gave_up),
        readmission=_away(curves.away[place]),
        back=_away(curves.unserved[place]),
        not_back=missing,
        requests_per_s_peak=max(series.requests_per_s[first:last]),
        opens_per_s_peak=max(series.opens_per_s[first:last]),
        origin_opens_per_s_peak=max(series.origin_opens_per_s[first:last]),
    )


def described(failure: Failure) -> str:
    """Return a failure in words."""
    words = FAILURES[failure.do]
    if failure.do == "pop" and failure.count > 1:
        words = f"{failure.count} POPs lost"
    elif failure.do == "workers" and failure.share < 1:
        words = f"{failure.share:.0%} of the workers killed".replace("%", " %")
    return f"{words} for {failure.down:g} s" if failure.down and failure.do != "deploy" else words


def _away(histogram: NDArray[np.int64]) -> Away:
    total = int(histogram.sum())
    if not total:
        return Away()
    passed = np.cumsum(histogram)
    shares = {
        name: round(float(np.searchsorted(passed, max(1, math.ceil(share * total - 1e-9)))) * TICK, 2)
        for name, share in (("p50_s", 0.5), ("p99_s", 0.99), ("max_s", 1.0))
    }
    return Away(count=total, **shares)
