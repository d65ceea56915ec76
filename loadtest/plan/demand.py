"""What clients ask of either way in the steady state, for each client: by formula, and for fleets of any size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.models import MODELS, Fetching, Model, Wait
from loadtest.plan import wire
from loadtest.plan.fleet import shares_of_environments
from loadtest.plan.settings import Plan
from loadtest.replacing import replacing_window

__all__ = [
    "JITTER",
    "Rates",
    "events_per_s",
    "fetching_share",
    "formula_rates",
    "occupied",
    "rates",
    "shares_of_models",
]

Floats = NDArray[np.float64]

JITTER: Final = 0.2
"""Share of the lifetime that is random without an edge; it only shortens (stream_server.lifetimes)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """For each client and second."""

    opens: float
    events: float
    heartbeats: float
    documents: float

    @property
    def body_bytes(self) -> float:
        """Bytes of streams, heads and chunks included, without packets' headers."""
        return (
            self.opens * wire.STREAM
            + self.events * wire.chunked(wire.EVENT)
            + self.heartbeats * wire.chunked(wire.HEARTBEAT)
        )

    def packets(self, document_bytes: int) -> float:
        """Return packets that a server sends: four to open a stream (SYN, ACK, head, end), one for each thing told."""
        return 4 * self.opens + self.events + self.heartbeats + self.documents * (2 + document_bytes / 1448)


def events_per_s(plan: Plan) -> float:
    """Return the events a second of one environment: changes that come faster than `min_interval` are told as one."""
    changes, apart = plan.changes.per_environment_per_hour / 3600, plan.streams.min_interval
    return min(changes, 1 / apart) if apart else changes


def shares_of_models(plan: Plan) -> dict[str, float]:
    """Return the share of all clients that each model has."""
    whole = sum(mix.share for mix in plan.clients.mix)
    shares: dict[str, float] = {}
    for mix in plan.clients.mix:
        shares[mix.model] = shares.get(mix.model, 0.0) + mix.share / whole
    return shares


def fetching_share(plan: Plan, *, versioned: bool | None = None) -> float:
    """Return the share of clients that fetch flags when told of a change; `versioned`: that ask so, or not."""
    if not plan.changes.fetch:
        return 0.0
    whole = sum(mix.share for mix in plan.clients.mix)
    return sum(
        mix.share / whole
        for mix in plan.clients.mix
        if mix.fetches
        and MODELS[mix.model].fetching is not Fetching.NEVER
        and (versioned is None or MODELS[mix.model].fetches_version is versioned)
    )


def new_connections(plan: Plan) -> float:
    """Return the share of the clients that open each stream on a new connection; the others use theirs again."""
    keeps = {name for name, model in MODELS.items() if model.keeps_connection and not model.replaces}
    return sum(share for name, share in shares_of_models(plan).items() if name not in keeps)


def mean_wait(wait: Wait, retry: float) -> float:
    """Return the seconds that a model waits for on average after a clean end."""
    fixed = max(wait.fixed, retry) if wait.obeys_retry else wait.fixed
    return min(wait.cap, fixed) + min(wait.cap, wait.random) / 2 + wait.adds_fraction / 2


def cycle(model: Model, plan: Plan, *, edge: bool) -> float:
    """Return the seconds from one opening of a client to its next, on average; behind an `edge` lifetimes are fixed."""
    streams = plan.streams
    life = streams.lifetime * (1.0 if edge else 1 - JITTER / 2)
    if model.replaces:
        window = replacing_window(life, min(streams.join_window, max(life - 2, 0)))
        if window is not None:
            return sum(window) / 2
    # Half to one and a half of `retry` without an edge: the same on average.
    return life + mean_wait(model.clean, streams.retry)


def formula_rates(plan: Plan, *, edge: bool) -> Rates:
    """Return what a client asks of an origin, or of an edge on which it never joins a stream that is older."""
    shares = shares_of_models(plan)
    opens_of = {name: 1 / cycle(MODELS[name], plan, edge=edge) for name in shares}
    return rates(plan, sum(share * opens_of[name] for name, share in shares.items()), opens_of)


def rates(plan: Plan, opens: float, opens_of: dict[str, float]) -> Rates:
    """Return the rates of a client that opens so many streams a second on average, and of each model so many."""
    events = events_per_s(plan)
    documents = events * fetching_share(plan)
    whole = sum(mix.share for mix in plan.clients.mix)
    for mix in plan.clients.mix:
        # Told the newest version at each opening, it fetches it again.
        if plan.changes.fetch and mix.fetches and MODELS[mix.model].fetching is Fetching.EVERY:
            documents += mix.share / whole * opens_of[mix.model]
    return Rates(opens=opens, events=events, heartbeats=1 / plan.streams.heartbeat, documents=documents)


@lru_cache(maxsize=4096)
def occupied(plan: Plan, clients: int, shield: str | None = None) -> float:
    """Return how many pairs of an environment and a cache that asks the origin have clients.

    `shield` is another than the plan's.
    """
    if not plan.edge.on:
        return 0.0
    shares = shares_of_environments(plan)
    whole = sum(region.share for region in plan.regions)
    match shield or plan.edge.shield:
        case "one":
            places = [(1, 1.0)]
        case "region":
            places = [(1, region.share / whole) for region in plan.regions]
        case _:
            places = [(region.pops, region.share / whole / region.pops) for region in plan.regions]
    return sum(
        count * float((-np.expm1(clients * np.log1p(-np.minimum(share * shares, 1 - 1e-12)))).sum())
        for count, share in places
    )
