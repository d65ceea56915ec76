"""What a fleet costs a month, directly and through an edge, and from how many clients on which is cheaper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.plan import wire
from loadtest.plan.demand import Rates, fetching_share, occupied
from loadtest.plan.fleet import shares_of_environments
from loadtest.plan.outcome import Bandwidth, Costs, Point, Sizing
from loadtest.plan.settings import Plan, Tier
from loadtest.plan.sizing import edge_machines, sizing

__all__ = ["Bill", "break_even", "cheaper", "curve", "tiered"]

HOURS: Final = 730
"""In a month."""
SECONDS: Final = HOURS * 3600
MOST_CLIENTS: Final = 1_000_000_000
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

    def sizing_through(self, clients: int, through: Rates) -> Sizing:
        """Return what an origin takes behind the edge."""
        nodes = occupied(self.plan, clients)
        streams = nodes * self.streams_a_node
        places = nodes / self.plan.environments.count
        rates = Rates(
            opens=self.opens_a_node / max(self.streams_a_node, 1e-9),
            events=through.events,
            heartbeats=through.heartbeats,
            documents=0.0,
        )
        found = sizing(
            self.plan,
            streams=streams,
            storm=streams,
            largest=places * self.streams_a_node,
            rates=rates,
            documents=self.origin_documents(clients, through),
        )
        if self.plan.edge.kind == "cdn":
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

    def bandwidth_through(self, clients: int, through: Rates) -> Bandwidth:
        """Return the bytes a second of an edge, and of the origin behind it."""
        nodes = occupied(self.plan, clients)
        streams = nodes * self.streams_a_node
        stream_bytes = (
            nodes * self.opens_a_node * (wire.STREAM + 4 * wire.PACKET)
            + streams * through.events * (wire.chunked(wire.EVENT) + wire.PACKET)
            + streams * through.heartbeats * (wire.chunked(wire.HEARTBEAT) + wire.PACKET)
        )
        document = self._document(packets=True)
        own = self.plan.edge.kind == "own"
        return Bandwidth(
            clients=clients * self._bytes(through, packets=own),
            origin=stream_bytes + self.origin_documents(clients, through) * document,
        )

    def costs_direct(self, clients: int) -> Costs:
        """Return what it costs that everybody goes to the origin."""
        machines = self.sizing_direct(clients).machines * self.plan.prices.machine
        egress = tiered(self.bandwidth_direct(clients) * SECONDS / 1e9, self.plan.prices.egress)
        return _costs("direct", clients, machines=machines, egress=egress)

    def costs_through(self, clients: int, through: Rates) -> Costs:
        """Return what it costs that everybody goes through the edge."""
        prices = self.plan.prices
        sized = self.sizing_through(clients, through)
        bandwidth = self.bandwidth_through(clients, through)
        if self.plan.edge.kind == "own":
            egress = tiered((bandwidth.clients + bandwidth.origin) * SECONDS / 1e9, prices.egress)
            machines = (sized.machines + sized.edge_machines) * prices.machine
            return _costs("own edge", clients, machines=machines, egress=egress)
        requests = clients * (through.opens + through.documents) * SECONDS / 1e4 * prices.cdn_per_10k_requests
        traffic = tiered(bandwidth.clients * SECONDS / 1e9, prices.cdn)
        return _costs(
            "cdn",
            clients,
            machines=sized.machines * prices.machine,
            egress=tiered(bandwidth.origin * SECONDS / 1e9, prices.egress),
            traffic=max(traffic, prices.cdn_least - requests),
            requests=requests,
        )

    def _document(self, *, packets: bool) -> float:
        size = self.plan.changes.document_bytes + wire.DOCUMENT_HEAD
        return size + (wire.PACKET * (2 + size / 1448) if packets else 0.0)

    def _bytes(self, rates: Rates, *, packets: bool) -> float:
        size = self.plan.changes.document_bytes + wire.DOCUMENT_HEAD
        return rates.body_bytes + rates.documents * size + (rates.packets(size) * wire.PACKET if packets else 0.0)


def curve(bill: Bill) -> list[Point]:
    """Return the costs of fleets from a thousand clients to a hundred million."""
    points = []
    for power in range(12, 33):
        clients = round(10 ** (power / 4))
        direct = bill.costs_direct(clients)
        through = bill.costs_through(clients, bill.through) if bill.through else None
        points.append(
            Point(
                clients=clients,
                direct=direct.total,
                through=through.total if through else None,
                direct_per_million_client_hours=direct.per_million_client_hours,
                through_per_million_client_hours=through.per_million_client_hours if through else None,
            )
        )
    return points


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
