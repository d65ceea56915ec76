"""How many processes and machines a fleet takes, from what a stream costs."""

from __future__ import annotations

import math

from loadtest.plan.demand import Rates, formula_rates, new_connections, occupied
from loadtest.plan.fleet import shares_of_environments
from loadtest.plan.outcome import Sizing
from loadtest.plan.settings import Plan

__all__ = ["edge_machines", "processes_for", "sizing"]


def sizing(plan: Plan, *, streams: float, storm: float, largest: float, rates: Rates, documents: float) -> Sizing:
    """Return what `streams` streams at the origin take.

    `storm` of them open at once; `largest` are of one environment, and told of a change at once; `rates` are for each
    of them and second, but `documents` of all.
    """
    costs, prices, targets = plan.costs, plan.prices, plan.targets
    tls = plan.origin.tls
    delivery_us = costs.delivery_us + tls * costs.tls_delivery_us
    handshake_us, stream_kib = tls * costs.tls_open_us, costs.stream_kib + costs.kernel_kib + tls * costs.tls_kib
    alone_us = costs.open_alone_us + handshake_us * new_connections(plan)
    by_descriptors = math.ceil(streams / costs.streams_per_process)
    steady = 1e-6 * (
        streams * (rates.opens * alone_us + (rates.events + rates.heartbeats) * delivery_us)
        + documents * costs.document_us
    )
    by_delivery = largest * delivery_us / 1e3 / targets.delivery_p99_ms
    by_storm = storm * (costs.open_us + handshake_us) * 1e-6 / targets.storm_s
    cores = max(steady / targets.load, by_delivery, by_storm)
    processes = max(by_descriptors, math.ceil(cores), prices.least_machines)
    gib = (streams * stream_kib + processes * costs.process_mib * 1024) / 2**20
    by_memory = math.ceil(gib / (prices.machine_gib * targets.load))
    return Sizing(
        streams=round(streams),
        storm_streams=round(storm),
        processes_by_descriptors=by_descriptors,
        gib=gib,
        machines_by_memory=by_memory,
        cores_steady=steady,
        cores_by_delivery=by_delivery,
        cores_by_storm=by_storm,
        processes=processes,
        machines=max(by_memory, math.ceil(cores / prices.machine_cores), prices.least_machines),
    )


def edge_machines(plan: Plan, clients: float, rates: Rates) -> int:
    """Return the machines of an edge of one's own: one a POP at least."""
    costs, prices, targets = plan.costs, plan.prices, plan.targets
    gib = clients * costs.edge_client_kib / 2**20
    cores = clients * (rates.events + rates.heartbeats) * costs.edge_delivery_us * 1e-6
    return max(
        plan.pops,
        math.ceil(gib / (prices.machine_gib * targets.load)),
        math.ceil(cores / (prices.machine_cores * targets.load)),
    )


def processes_for(plan: Plan) -> int:
    """Return the processes that a plan asks for, or those that its steady state takes."""
    if plan.origin.processes:
        return plan.origin.processes
    clients = plan.clients.count
    whole = sum(mix.share for mix in plan.clients.mix)
    direct = clients * (
        1.0 if not plan.edge.on else sum(mix.share for mix in plan.clients.mix if mix.via == "origin") / whole
    )
    behind = 2 * occupied(plan, clients)
    rates = formula_rates(plan, edge=False)
    return sizing(
        plan,
        streams=direct + behind,
        storm=direct + behind,
        largest=direct * float(shares_of_environments(plan)[0]),
        rates=rates,
        documents=0.0,
    ).processes
