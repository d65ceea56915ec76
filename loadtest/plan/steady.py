"""The steady state of a simulation, and the bill that follows from it, or from formulas where it was not seen."""

from __future__ import annotations

import math

import numpy as np

from loadtest.plan.bill import Bill
from loadtest.plan.demand import Rates, formula_rates, occupied, rates, shares_of_models
from loadtest.plan.outcome import Series, Steady
from loadtest.plan.settings import Plan
from loadtest.plan.simulation import Simulation

__all__ = ["bill_of", "settled", "steady_of"]


def steady_of(plan: Plan, series: Series) -> Steady:
    """Return the figures of the time between the opening and the first failure, in whole lifetimes."""
    until = min([failure.at for failure in plan.failures], default=plan.run.seconds)
    since = plan.clients.open_over + plan.streams.lifetime
    if until - since < plan.streams.lifetime:
        since = min(since, until / 2)
    periods = math.floor((until - since) / plan.streams.lifetime)
    if periods:
        since = until - periods * plan.streams.lifetime
    width = plan.run.bin
    window = slice(round(since / width), max(round(until / width), round(since / width) + 1))
    opens, origin = np.array(series.opens_per_s)[window], np.array(series.origin_opens_per_s)[window]
    streams = np.array(series.origin_streams)[window]
    return Steady(
        since_s=since,
        until_s=until,
        open=float(np.array(series.open)[window].mean()),
        opens_per_s=float(opens.mean()),
        opens_per_s_peak=float(opens.max()),
        origin_opens_per_s=float(origin.mean()),
        origin_opens_per_s_peak=float(origin.max()),
        origin_streams_p50=float(np.median(streams)),
        origin_streams_peak=float(streams.max()),
    )


def settled(plan: Plan, steady: Steady) -> bool:
    """Tell whether the steady state was seen for a whole lifetime, all having been there for one before."""
    since = plan.clients.open_over + plan.streams.lifetime
    return steady.since_s >= since - 1e-6 and steady.until_s - steady.since_s >= plan.streams.lifetime - 1e-6


def bill_of(plan: Plan, simulation: Simulation, steady: Steady) -> Bill:
    """Return the bill of a plan: from what was simulated, or by formula where no whole lifetime was seen."""
    direct = formula_rates(plan, edge=False)
    nodes = occupied(plan, plan.clients.count)
    if not nodes:
        return Bill(plan=plan, direct=direct, through=None)
    if not settled(plan, steady):
        # As many as can overlap, each as old as its window when the next one opens.
        window = max(plan.streams.join_window, 1.0)
        return Bill(
            plan=plan,
            direct=direct,
            through=formula_rates(plan, edge=True),
            streams_a_node=plan.streams.lifetime / window,
            opens_a_node=1 / window,
        )
    return Bill(
        plan=plan,
        direct=direct,
        through=through_rates(plan, simulation, steady),
        streams_a_node=steady.origin_streams_peak / nodes,
        opens_a_node=steady.origin_opens_per_s / nodes,
    )


def through_rates(plan: Plan, simulation: Simulation, steady: Steady) -> Rates:
    """Return what a client asks of the edge, as simulated: who joins late opens sooner again than the formula says."""
    opens = steady.opens_per_s / plan.clients.count
    shares, by_model = shares_of_models(plan), simulation.curves.opens_by_model
    whole = max(int(by_model.sum()), 1)
    return rates(
        plan,
        opens,
        {
            model.name: opens * float(by_model[number]) / whole / shares[model.name]
            for number, model in enumerate(simulation.fleet.models)
        },
    )
