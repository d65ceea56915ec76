"""Plays a plan and makes of it what it comes to."""

from __future__ import annotations

import platform
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagstream import __version__
from loadtest.plan.costs import (
    break_even,
    by_clients,
    by_lifetime,
    cheaper,
    cheaper_from_lifetime,
    even_price,
)
from loadtest.plan.demand import events_per_s, formula_rates
from loadtest.plan.documents import documents_of
from loadtest.plan.failures import described, failure_outcome
from loadtest.plan.outcome import Bandwidth, Outcome, Series, Steady
from loadtest.plan.rows import counted_as
from loadtest.plan.settings import Plan
from loadtest.plan.simulation import Simulation
from loadtest.plan.sizing import processes_for
from loadtest.plan.steady import bill_of, settled, steady_of
from loadtest.plan.timeline import steady_by

__all__ = ["notes", "played", "series_of"]

Floats = NDArray[np.float64]


def played(plan: Plan) -> Outcome:
    """Simulate a plan and return what it comes to."""
    began = time.monotonic()
    processes = processes_for(plan)
    simulation = Simulation(plan, processes)
    simulation.run()
    series = series_of(simulation)
    steady = steady_of(plan, series)
    direct = formula_rates(plan, edge=False)
    bill = bill_of(plan, simulation, steady)
    through = bill.through
    clients = plan.clients.count
    sized = {"direct": bill.sizing_direct(clients)}
    costs = bill.costs(clients)
    bandwidth = Bandwidth(clients=bill.bandwidth_direct(clients), origin=bill.bandwidth_direct(clients))
    if through:
        sized["through"] = bill.sizing_through(clients, through, plan.edge.kind)
        bandwidth = bill.bandwidth_through(clients, through, plan.edge.kind)
    ranges = cheaper(bill)
    return Outcome(
        title=plan.title,
        clients=clients,
        processes=processes,
        steady=steady,
        failures=[failure_outcome(plan, number, simulation, series) for number in range(len(plan.failures))],
        documents=documents_of(bill, through or direct),
        bandwidth=bandwidth,
        sizing=sized,
        costs=costs,
        through_is_cheaper=ranges,
        break_even_clients=break_even(ranges),
        cheaper_from_lifetime_s=cheaper_from_lifetime(bill),
        even_cdn_price=even_price(bill),
        by_clients=by_clients(bill),
        by_lifetime=by_lifetime(bill),
        notes=notes(plan, steady),
        series=series,
        plan=plan.model_dump(mode="json"),
        provenance=_provenance(time.monotonic() - began),
    )


def series_of(simulation: Simulation) -> Series:
    """Return the curves of a simulation."""
    curves, edges = simulation.curves, simulation.edges
    bins, width = curves.opens.bins, curves.width
    served = curves.through_edge.levels() + curves.direct.levels()
    connecting, gave_up = curves.connecting.levels(), curves.gave_up.levels()
    return Series(
        at_s=[round((number + 1) * width, 6) for number in range(bins)],
        open=_whole(served),
        in_waiting_room=_whole(curves.in_waiting_room.levels()),
        connecting=_whole(connecting),
        waiting=_whole(curves.began.levels() - served - connecting - gave_up),
        gave_up=_whole(gave_up),
        requests_per_s=_rates(curves.requests.per_second() + curves.loops.per_second()),
        opens_per_s=_rates(curves.opens.per_second()),
        losses_per_s=_rates(curves.losses.per_second()),
        origin_opens_per_s=_rates(edges.origin_opens.per_second()),
        origin_streams=_whole(edges.origin_streams.levels() + curves.direct.levels()),
    )


def notes(plan: Plan, steady: Steady) -> list[str]:
    """Return what is not as the plan may lead one to expect, in sentences."""
    found = []
    if not settled(plan, steady):
        wanted = steady_by(plan.clients.open_over, plan.streams.lifetime)
        found.append(
            f"No whole lifetime of the steady state is simulated: that takes {wanted:g} s before the first failure. "
            "Rows of the steady state are of what there was, machines and costs by formula."
        )
    held = plan.origin.processes * plan.costs.streams_per_process
    if held and steady.origin_streams_peak > held:
        found.append(
            f"The plan's {counted_as(plan.origin.processes, 'process holds', 'processes hold')} {held:,} streams "
            f"(costs.streams_per_process); the {steady.origin_streams_peak:,.0f} at the origin are simulated as if "
            "they fitted."
        )
    direct = sum(mix.share for mix in plan.clients.mix if mix.via == "origin")
    if plan.edge.on and direct:
        share = direct / sum(mix.share for mix in plan.clients.mix)
        found.append(f"{share * 100:.3g} % of the clients go directly; machines and costs are of one way for all.")
    if plan.changes.per_environment_per_hour / 3600 > events_per_s(plan):
        found.append(
            f"Changes are told of at most every {plan.streams.min_interval:g} s: "
            f"{events_per_s(plan):g} events a second and environment."
        )
    return found + [
        f"{described(failure)} at {failure.at:g} s lasts beyond the run, so nobody is seen to come back."
        for failure in plan.failures
        if failure.do != "deploy" and failure.at + failure.down >= plan.run.seconds
    ]


def _provenance(took: float) -> dict[str, Any]:
    return {
        "flagstream": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "simulated_in_s": round(took, 2),
    }


def _whole(values: Floats) -> list[int]:
    return [round(value) for value in values.tolist()]


def _rates(values: Floats) -> list[float]:
    return [round(value, 3) for value in values.tolist()]
