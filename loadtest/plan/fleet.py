"""Clients in arrays: who they are for good, and where each is in its life."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.models import MODELS, Model
from loadtest.plan.settings import Plan

__all__ = ["DIRECT", "GONE", "IDLE", "OPENING", "RUNNING", "Fleet", "shares_of_environments"]

Floats = NDArray[np.float64]

IDLE: Final = 0
"""Has nothing, and will ask at `due`; or has not begun."""
OPENING: Final = 1
"""Stands in a queue that was full: its kernel tries again at `due`."""
RUNNING: Final = 2
"""Has been promised a stream from `opened` to `ends`; asks for the next at `due`."""
GONE: Final = 3
"""Never comes back."""

CLIENT: Final = np.dtype(
    [
        ("asked", np.float64),
        ("opened", np.float64),
        ("ends", np.float64),
        ("lost_at", np.float32),
        ("awaits", np.float32),
        ("newest", np.float32),
        ("stream", np.int32),
        ("environment", np.int32),
        ("home", np.int16),
        ("pop", np.int16),
        ("model", np.uint8),
        ("region", np.uint8),
        ("failures", np.uint8),
        ("tries", np.uint8),
        ("state", np.uint8),
        ("kept", np.bool_),
        ("travels", np.bool_),
    ],
    align=True,
)
"""What `Fleet` says of a client; 56 bytes."""

DIRECT: Final = -1
"""The POP of who goes to the origin."""


@lru_cache(maxsize=8)
def shares_of_environments(plan: Plan) -> Floats:
    """Return the share of all clients that each environment has."""
    count = plan.environments.count
    weights = np.ones(count, dtype=np.float64)
    if plan.environments.spread == "zipf":
        weights = np.arange(1, count + 1, dtype=np.float64) ** -plan.environments.exponent
    shares: Floats = weights / weights.sum()
    return shares


@dataclass(slots=True)
class Fleet:
    """One entry a client in each array; times are seconds of the run.

    All but `due`, which is looked through as a whole, are columns of `rows`: what is asked of a client lies together.
    """

    models: list[Model]
    rows: NDArray[np.void]
    model: NDArray[np.uint8]
    environment: NDArray[np.int32]
    home: NDArray[np.int16]
    pop: NDArray[np.int16]
    """Where it goes now."""
    region: NDArray[np.uint8]
    asked: Floats
    opened: Floats
    ends: Floats
    due: Floats
    stream: NDArray[np.int32]
    """Number of the edge's stream, or -1 - process of the origin."""
    failures: NDArray[np.uint8]
    tries: NDArray[np.uint8]
    """Times that its kernel was not let into the queue."""
    state: NDArray[np.uint8]
    kept: NDArray[np.bool_]
    """Whether its connection may be used again."""
    travels: NDArray[np.bool_]
    """Whether its request is on its way to the origin, where it will be at `due`."""
    lost_at: NDArray[np.float32]
    """When it lost what it has not got back, whatever holds it meanwhile; not a number: has all."""
    newest: NDArray[np.float32]
    """When its newest stream opened, which may have taken the place of one that it had."""
    awaits: NDArray[np.float32]
    """The same until it has a stream of the origin's: a waiting room's will not do."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.model)

    def note(self, who: NDArray[np.intp], rows: NDArray[np.void]) -> None:
        """Write back rows that were taken from `rows`."""
        # As plain bytes: numpy copies structures column by column, in ten times the time.
        whole = np.dtype((np.void, CLIENT.itemsize))
        self.rows.view(whole)[who] = rows.view(whole)

    @classmethod
    def of(cls, plan: Plan, chance: np.random.Generator) -> Fleet:
        """Draw the clients of a plan."""
        count = plan.clients.count
        names = list(dict.fromkeys(mix.model for mix in plan.clients.mix))
        weights = np.array([mix.share for mix in plan.clients.mix])
        # Exactly as many of each as its share says: a plan for ten clients has them all.
        kind = _dealt(weights, count, chance)
        number = np.array([names.index(mix.model) for mix in plan.clients.mix], dtype=np.uint8)
        via_edge = np.array([plan.edge.on and mix.via != "origin" for mix in plan.clients.mix], dtype=bool)
        region = _dealt(np.array([region.share for region in plan.regions]), count, chance).astype(np.uint8)
        pops = np.array([region.pops for region in plan.regions])
        home = (np.concatenate([[0], np.cumsum(pops)[:-1]])[region] + (chance.random(count) * pops[region])).astype(
            np.int16
        )
        home[~via_edge[kind]] = DIRECT
        table = np.zeros(count, dtype=CLIENT)
        table["model"], table["region"] = number[kind], region
        table["environment"] = _drawn(shares_of_environments(plan), count, chance)
        table["home"] = table["pop"] = home
        table["opened"], table["ends"], table["stream"], table["state"] = np.inf, -np.inf, -1, IDLE
        for column in ("asked", "lost_at", "awaits"):
            table[column] = np.nan
        return cls(
            models=[MODELS[name] for name in names],
            rows=table,
            due=chance.random(count) * plan.clients.open_over,
            **{name: table[name] for name in CLIENT.names or ()},
        )


def _dealt(weights: Floats, count: int, chance: np.random.Generator) -> NDArray[np.intp]:
    """Return a kind for each, in random order, with each kind as often as its weight says, to within one."""
    ends = np.rint(np.cumsum(weights) / weights.sum() * count).astype(np.intp)
    kinds = np.repeat(np.arange(len(weights)), np.diff(ends, prepend=0))
    chance.shuffle(kinds)
    return kinds


def _drawn(shares: Floats, count: int, chance: np.random.Generator) -> NDArray[np.int32]:
    """Return an environment for each, by chance."""
    if len(shares) == 1:
        return np.zeros(count, dtype=np.int32)
    drawn = np.searchsorted(np.cumsum(shares), chance.random(count, dtype=np.float64))
    return np.minimum(drawn, len(shares) - 1).astype(np.int32)
