"""What a fleet of any size takes and costs a month, directly and through an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadtest.plan.demand import Rates, events_per_s, fetching_share, formula_rates, occupied
from loadtest.plan.fleet import shares_of_environments
from loadtest.plan.outcome import Costs, Sizing
from loadtest.plan.settings import Tier
from loadtest.plan.sizing import edge_machines, sizing
from loadtest.plan.traffic import Traffic

__all__ = ["Bill", "tiered"]

HOURS: Final = 730
"""In a month."""
SECONDS: Final = HOURS * 3600


def tiered(gigabytes: float, tiers: Sequence[Tier]) -> float:
    """Return the price of so many GB, each at that of its tier."""
    price, below = 0.0, 0.0
    for tier in tiers:
        end = gigabytes if tier.up_to_gb is None else min(gigabytes, tier.up_to_gb)
        price += max(end - below, 0.0) * tier.per_gb
        below = max(below, end)
    return price


@dataclass(frozen=True, slots=True)
class Bill(Traffic):
    """The traffic of a plan, with what it takes and costs."""

    def sizing_direct(self, clients: int) -> Sizing:
        """Return what an origin takes that everybody goes to."""
        return sizing(
            self.plan,
            streams=clients,
            storm=clients,
            largest=clients * float(shares_of_environments(self.plan)[0]),
            rates=self.direct,
            documents=clients * self.direct.documents,
        )

    def sizing_through(self, clients: int, through: Rates, kind: str) -> Sizing:
        """Return what an origin takes behind the edge."""
        nodes = occupied(self.plan, clients)
        streams = self.origin_streams(clients)
        places = nodes / self.plan.environments.count
        rates = Rates(
            opens=self.pace,
            events=through.events,
            heartbeats=through.heartbeats,
            documents=0.0,
        )
        found = sizing(
            self.plan,
            streams=streams,
            storm=streams,
            largest=streams * places / max(nodes, 1e-9),
            rates=rates,
            documents=self.origin_documents(clients, through),
        )
        if kind == "cdn":
            return found
        return Sizing(
            **{name: getattr(found, name) for name in found.__struct_fields__ if name != "edge_machines"},
            edge_machines=edge_machines(self.plan, clients, through),
        )

    def costs_direct(self, clients: int) -> Costs:
        """Return what it costs that everybody goes to the origin."""
        machines = self.sizing_direct(clients).machines * self.plan.prices.machine
        egress = tiered(self.bandwidth_direct(clients) * SECONDS / 1e9, self.plan.prices.egress)
        return _costs("direct", clients, machines=machines, egress=egress)

    def costs_through(self, clients: int, through: Rates, kind: str | None = None) -> Costs:
        """Return what it costs that everybody goes through the edge: that of the plan, or one of another kind."""
        prices = self.plan.prices
        kind = kind or self.plan.edge.kind
        sized = self.sizing_through(clients, through, kind)
        bandwidth = self.bandwidth_through(clients, through, kind)
        if kind == "own":
            egress = tiered((bandwidth.clients + bandwidth.origin) * SECONDS / 1e9, prices.egress)
            machines = (sized.machines + sized.edge_machines) * prices.machine
            return _costs("own edge", clients, machines=machines, egress=egress)
        between, carried = self.between_tiers(clients, through)
        asked = clients * (through.opens + through.documents) + between
        requests = asked * SECONDS / 1e4 * prices.cdn_per_10k_requests
        traffic = tiered((bandwidth.clients + carried) * SECONDS / 1e9, prices.cdn)
        return _costs(
            "cdn",
            clients,
            machines=sized.machines * prices.machine,
            egress=tiered(bandwidth.origin * SECONDS / 1e9, prices.egress),
            traffic=max(traffic, prices.cdn_least - requests),
            requests=requests,
        )

    def costs(self, clients: int) -> list[Costs]:
        """Return what each way costs: directly, through the plan's kind of edge, and through the other kind."""
        costs = [self.costs_direct(clients)]
        if self.through:
            kinds = ("cdn", "own") if self.plan.edge.kind == "cdn" else ("own", "cdn")
            costs += [self.costs_through(clients, self.through, kind) for kind in kinds]
        return costs

    def with_lifetime(self, lifetime: float) -> Bill:
        """Return the bill of streams that live so long, and may be joined for the same share of that."""
        plan = self.plan
        window = min(plan.streams.join_window * lifetime / plan.streams.lifetime, lifetime - 1 - plan.tiers)
        streams = plan.streams.model_copy(update={"lifetime": lifetime, "join_window": window})
        other = plan.model_copy(update={"streams": streams})
        through = self.through
        if through:
            factor = formula_rates(other, edge=True).opens / formula_rates(plan, edge=True).opens
            told = through.events * fetching_share(plan)
            through = replace(
                through,
                opens=through.opens * factor,
                documents=told + (through.documents - told) * factor,
                events=events_per_s(other),
            )
        return Bill(
            plan=other,
            direct=formula_rates(other, edge=False),
            through=through,
            streams_a_node=self.streams_a_node,
            opens_a_node=self.opens_a_node * plan.streams.lifetime / lifetime,
        )


def _costs(
    way: str, clients: int, *, machines: float, egress: float, traffic: float = 0.0, requests: float = 0.0
) -> Costs:
    total = machines + egress + traffic + requests
    return Costs(
        way=way,
        machines=machines,
        egress=egress,
        cdn_traffic=traffic,
        cdn_requests=requests,
        total=total,
        per_million_client_hours=total / (clients * HOURS / 1e6),
    )
