"""Plays a plan and makes of it what it comes to."""

from __future__ import annotations

import math
import platform
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from flagstream import __version__
from loadtest.models import MODELS
from loadtest.plan.bill import Bill
from loadtest.plan.costs import (
    break_even,
    by_clients,
    by_lifetime,
    cheaper,
    cheaper_from_lifetime,
    even_price,
)
from loadtest.plan.curves import TICK
from loadtest.plan.demand import Rates, events_per_s, fetching_share, formula_rates, occupied, shares_of_models
from loadtest.plan.fleet import GONE, shares_of_environments
from loadtest.plan.outcome import Away, Bandwidth, Documents, FailureOutcome, Outcome, Series, Steady
from loadtest.plan.settings import Failure, Plan
from loadtest.plan.simulation import Simulation
from loadtest.plan.sizing import processes_for
from loadtest.plan.steady import bill_of, settled, steady_of
from loadtest.plan.timeline import steady_by

__all__ = ["FAILURES", "played"]

Floats = NDArray[np.float64]

FAILURES: Final = {
    "pop": "POP lost",
    "origin": "origin killed",
    "workers": "workers killed",
    "cdn": "whole edge lost",
    "deploy": "deploy in place",
}


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
        failures=[_failure(plan, number, simulation, series) for number in range(len(plan.failures))],
        documents=_documents(bill, through or direct),
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


def _failure(plan: Plan, number: int, simulation: Simulation, series: Series) -> FailureOutcome:
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


def _documents(bill: Bill, steady: Rates) -> Documents:
    plan = bill.plan
    clients = plan.clients.count
    largest = round(clients * float(shares_of_environments(plan)[0]))
    edge = largest * fetching_share(plan)
    settle = sum(share * MODELS[name].settle for name, share in shares_of_models(plan).items())
    # The last is told when all are: by an origin after its deliveries, by an edge of many machines at once.
    spread = settle + max(0.0 if plan.edge.on else largest * plan.costs.delivery_us * 1e-6, 0.001)
    origin, per_s = edge, clients * steady.documents
    if bill.through:
        versioned = fetching_share(plan, versioned=True) if plan.edge.keeps_documents else 0.0
        caches = occupied(plan, clients) / plan.environments.count
        origin = largest * (fetching_share(plan) - versioned) + min(caches, largest * versioned)
        per_s = bill.origin_documents(clients, bill.through)
    return Documents(
        edge_per_s=clients * steady.documents if plan.edge.on else 0.0,
        origin_per_s=per_s,
        clients=largest,
        edge_requests=round(edge) if plan.edge.on else 0,
        origin_requests=round(origin),
        spread_s=spread,
        edge_per_s_peak=edge / max(spread, 1.0) if plan.edge.on else 0.0,
        origin_per_s_peak=origin / max(spread, 1.0),
    )


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
