"""Fetches of flags: always, and after one change to the largest environment."""

from __future__ import annotations

from loadtest.models import MODELS
from loadtest.plan.bill import Bill
from loadtest.plan.demand import Rates, fetching_share, occupied, shares_of_models
from loadtest.plan.fleet import shares_of_environments
from loadtest.plan.outcome import Documents

__all__ = ["documents_of"]


def documents_of(bill: Bill, steady: Rates) -> Documents:
    """Return the fetches of a plan whose clients ask at the rates of `steady`."""
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
