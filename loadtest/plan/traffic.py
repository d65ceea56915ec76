"""What flows by either way, for fleets of any size: streams, documents and bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from loadtest.plan import wire
from loadtest.plan.demand import Rates, fetching_share, occupied
from loadtest.plan.outcome import Bandwidth
from loadtest.plan.settings import Plan

__all__ = ["Traffic"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What decides traffic, for each client: `through` is None where there is no edge.

    `streams_a_node` is how many streams the origin holds for each cache that has clients of an environment, and
    `opens_a_node` how many it opens for it a second, as simulated.
    """

    plan: Plan
    direct: Rates
    through: Rates | None
    streams_a_node: float = 0.0
    opens_a_node: float = 0.0

    @property
    def pace(self) -> float:
        """How often the origin opens each of the streams that it holds for an edge, a second."""
        if not self.plan.streams.join_window and self.through:
            return self.through.opens
        return self.opens_a_node / max(self.streams_a_node, 1e-9)

    def origin_streams(self, clients: int) -> float:
        """Return the streams that the origin holds for an edge: where nobody can join one, one a client."""
        if not self.plan.streams.join_window:
            return float(clients)
        return occupied(self.plan, clients) * self.streams_a_node

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
            streams * self.pace * (wire.STREAM + 4 * wire.PACKET)
            + streams * through.events * (wire.chunked(wire.EVENT) + wire.PACKET)
            + streams * through.heartbeats * (wire.chunked(wire.HEARTBEAT) + wire.PACKET)
        )
        document = self._document(packets=True)
        own = kind == "own"
        return Bandwidth(
            clients=clients * self._bytes(through, packets=own),
            origin=stream_bytes + self.origin_documents(clients, through) * document,
        )

    def between_tiers(self, clients: int, through: Rates) -> tuple[float, float]:
        """Return the requests and the bytes a second with which POPs ask a shield: a CDN bills them too."""
        if self.plan.edge.shield == "none":
            return 0.0, 0.0
        pops = occupied(self.plan, clients, "none")
        streams = pops * self.streams_a_node if self.plan.streams.join_window else float(clients)
        told = replace(through, opens=self.pace, documents=0.0)
        return streams * self.pace, streams * told.body_bytes

    def _document(self, *, packets: bool) -> float:
        size = self.plan.changes.document_bytes + wire.DOCUMENT_HEAD
        return size + (wire.PACKET * (2 + size / 1448) if packets else 0.0)

    def _bytes(self, rates: Rates, *, packets: bool) -> float:
        size = self.plan.changes.document_bytes + wire.DOCUMENT_HEAD
        return rates.body_bytes + rates.documents * size + (rates.packets(size) * wire.PACKET if packets else 0.0)
