"""What a fleet costs a month, directly and through an edge, by its size and by how long streams live."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadtest.plan import wire
from loadtest.plan.demand import Rates, events_per_s, fetching_share, formula_rates, occupied
from loadtest.plan.fleet import shares_of_environments
from loadtest.plan.outcome import Bandwidth, Costs, Point, Sizing, Way
from loadtest.plan.settings import Plan, Tier
from loadtest.plan.sizing import edge_machines, sizing

__all__ = [
    "Bill",
    "break_even",
    "by_clients",
    "by_lifetime",
    "cheaper",
    "cheaper_from_lifetime",
    "even_price",
    "tiered",
]

HOURS: Final = 730
"""In a month."""
SECONDS: Final = HOURS * 3600
LIFETIMES: Final = (30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds that streams are priced with beside those of the plan."""
STEPS_A_DECADE: Final = 40


def tiered(gigabytes: float, tiers: Sequence[Tier]) -> float:
    """Return the price of so many GB, each at that of its tier."""
    price, below = 0.0, 0.0
    for tier in tiers:
        end = gigabytes if tier.up_to_gb is None else min(gigabytes, tier.up_to_gb)
        price += max(end - below, 0.0) * tier.per_gb
        below = max(below, end)
    return price


@dataclass(frozen=True, slots=True)
class Bill:
    """What decides costs, for each client: `through` is None where there is no edge.

    `streams_a_node` is how many streams the origin holds for each cache that has clients of an environment, and
    `opens_a_node` how many it opens for it a second, as simulated.
    """

    plan: Plan
    direct: Rates
    through: Rates | None
    streams_a_node: float = 0.0
    opens_a_node: float = 0.0

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

    def origin_streams(self, clients: int) -> float:
        """Return the streams that the origin holds for an edge: where nobody can join one, one a client."""
        if not self.plan.streams.join_window:
            return float(clients)
        return occupied(self.plan, clients) * self.streams_a_node

    def sizing_through(self, clients: int, through: Rates, kind: str) -> Sizing:
        """Return what an origin takes behind the edge."""
        nodes = occupied(self.plan, clients)
        streams = self.origin_streams(clients)
        places = nodes / self.plan.environments.count
        rates = Rates(
            opens=self._pace,
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

    def origin_documents(self, clients: int, through: Rates) -> float:
        """Return the documents a second that come through an edge: one a cache of each version asked for by name."""
        fetching = fetching_share(self.plan)
        if not fetching:
            return 0.0
        versioned = fetching_share(self.plan, versioned=True) if self.plan.edge.keeps_documents else 0.0
        passed = clients * (through.documents - through.events * versioned)
        kept = min(occupied(self.plan, clients), clients * versioned) * through.events if versioned else 0.0
        return passed + kept

    def bandwidth_direct(self, clients: int) -> float:
        """Return the bytes a second of an origin that everybody goes to, packet headers included."""
        return clients * self._bytes(self.direct, packets=True)

    def bandwidth_through(self, clients: int, through: Rates, kind: str) -> Bandwidth:
        """Return the bytes a second of an edge, and of the origin behind it."""
        streams = self.origin_streams(clients)
        stream_bytes = (
            streams * self._pace * (wire.STREAM + 4 * wire.PACKET)
            + streams * through.events * (wire.chunked(wire.EVENT) + wire.PACKET)
            + streams * through.heartbeats * (wire.chunked(wire.HEARTBEAT) + wire.PACKET)
        )
        document = self._document(packets=True)
        own = kind == "own"
        return Bandwidth(
            clients=clients * self._bytes(through, packets=own),
            origin=stream_bytes + self.origin_documents(clients, through) * document,
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
        between, carried = self._between_tiers(clients, through)
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

    @property
    def _pace(self) -> float:
        """How often the origin opens each of the streams that it holds for an edge, a second."""
        if not self.plan.streams.join_window and self.through:
            return self.through.opens
        return self.opens_a_node / max(self.streams_a_node, 1e-9)

    def _between_tiers(self, clients: int, through: Rates) -> tuple[float, float]:
        """Return the requests and the bytes a second with which POPs ask a shield: a CDN bills them too."""
        if self.plan.edge.shield == "none":
            return 0.0, 0.0
        pops = occupied(self.plan, clients, "none")
        streams = pops * self.streams_a_node if self.plan.streams.join_window else float(clients)
        told = replace(through, opens=self._pace, documents=0.0)
        return streams * self._pace, streams * told.body_bytes

    def _document(self, *, packets: bool) -> float:
        size = self.plan.changes.document_bytes + wire.DOCUMENT_HEAD
        return size + (wire.PACKET * (2 + size / 1448) if packets else 0.0)

    def _bytes(self, rates: Rates, *, packets: bool) -> float:
        size = self.plan.changes.document_bytes + wire.DOCUMENT_HEAD
        return rates.body_bytes + rates.documents * size + (rates.packets(size) * wire.PACKET if packets else 0.0)


def by_clients(bill: Bill) -> list[Point]:
    """Return the costs of fleets from a thousand clients to a hundred million."""
    return [_point(bill, round(10 ** (power / 4)), bill.plan.streams.lifetime) for power in range(12, 33)]


def by_lifetime(bill: Bill) -> list[Point]:
    """Return the costs of the plan's fleet with streams that live longer and shorter."""
    lifetimes = sorted({*map(float, LIFETIMES), bill.plan.streams.lifetime})
    return [_point(bill.with_lifetime(lifetime), bill.plan.clients.count, lifetime) for lifetime in lifetimes]


def _point(bill: Bill, clients: int, lifetime: float) -> Point:
    ways = [
        Way(way=costs.way, total=costs.total, per_million_client_hours=costs.per_million_client_hours)
        for costs in bill.costs(clients)
    ]
    return Point(clients=clients, lifetime_s=lifetime, ways=ways)


def cheaper_from_lifetime(bill: Bill) -> float | None:
    """Return how long streams have to live for the edge to cost less than going directly, up to a day."""
    if not bill.through:
        return None
    begin = math.log10(bill.plan.streams.lifetime)
    for step in range(STEPS_A_DECADE * 5):
        lifetime = 10 ** (begin + step / STEPS_A_DECADE)
        if lifetime > 86_400:  # noqa: PLR2004 - a day, as long as a stream may live
            break
        direct, through, *_ = bill.with_lifetime(lifetime).costs(bill.plan.clients.count)
        if through.total < direct.total:
            return lifetime
    return None


def even_price(bill: Bill) -> float | None:
    """Return the price of 10,000 requests at which a CDN costs as much as going directly; None: not even at 0."""
    if not bill.through:
        return None
    direct = bill.costs_direct(bill.plan.clients.count).total
    cdn = bill.costs_through(bill.plan.clients.count, bill.through, "cdn")
    left = direct - (cdn.total - cdn.cdn_requests)
    if left <= 0 or not cdn.cdn_requests:
        return None
    return bill.plan.prices.cdn_per_10k_requests * left / cdn.cdn_requests


def cheaper(bill: Bill) -> list[tuple[int, int | None]]:
    """Return from and to how many clients the edge costs less, looked at in steps of 6 %."""
    found: list[tuple[int, int | None]] = []
    if not bill.through:
        return found
    begin: int | None = None
    for step in range(2 * STEPS_A_DECADE, 9 * STEPS_A_DECADE + 1):
        clients = round(10 ** (step / STEPS_A_DECADE))
        less = bill.costs_through(clients, bill.through).total < bill.costs_direct(clients).total
        if less and begin is None:
            begin = clients
        elif not less and begin is not None:
            found.append((begin, clients))
            begin = None
    if begin is not None:
        found.append((begin, None))
    return found


def break_even(ranges: list[tuple[int, int | None]]) -> int | None:
    """Return from how many clients on the edge costs less for good."""
    return ranges[-1][0] if ranges and ranges[-1][1] is None else None


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
