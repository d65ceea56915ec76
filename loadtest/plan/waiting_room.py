"""What an edge answers while no origin does: its waiting room, or an error that all share."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.plan.nodes import Log, Nodes
from loadtest.plan.origin import Origin
from loadtest.plan.settings import Plan

__all__ = ["NO_STREAM", "WaitingRoom"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

NO_STREAM: Final = -1
LIVES: Final = (5.0, 10.0)
"""Seconds between which a waiting room's streams live (stream_server.settings.LONGEST_WAIT)."""
SEEN_AFTER: Final = 0.15
"""Seconds from an origin's return until a waiting room lets go: it looks ten times a second, cohorts of a tenth."""
ERRORS_SHARED: Final = 1.0
"""Seconds for which an edge gives the same error to everybody."""
AGE_TICK: Final = 1.0


class WaitingRoom:
    """That of an edge whose streams are in `log`; `nodes` is how many caches a tier has at most."""

    def __init__(self, plan: Plan, origin: Origin, log: Log, nodes: int, chance: np.random.Generator) -> None:
        self._plan = plan
        self._origin = origin
        self._log = log
        self._chance = chance
        self._failed: Floats = np.full(nodes, -np.inf)
        self.was_used = False
        """Whether anybody has been in it."""

    def asks_origin(self, node: Ints, at: Floats) -> NDArray[np.bool_]:
        """Tell who asks the origin before it gets what is left: one a second of each cache, whose error all share."""
        asked: NDArray[np.bool_] = at >= self._failed[node]
        self._failed[node[asked]] = at[asked] + ERRORS_SHARED
        return asked

    def open(self, nodes: Nodes, node: Ints, at: Floats, place: Ints) -> tuple[Ints, Floats]:
        """Open its streams for nodes, and return their numbers, or `NO_STREAM` where there is no waiting room."""
        if self._plan.edge.while_down != "waiting-room":
            return np.full(len(node), NO_STREAM, dtype=np.int32), at
        self.was_used = True
        life = self._chance.uniform(*LIVES, len(node))
        window = np.maximum(np.floor(life) - 1 - self._plan.tiers, 0)
        released = self._origin.back + SEEN_AFTER
        if not self._plan.edge.guard:
            # An edge that cannot tell a finished stream would replay one that ended within its window.
            released = np.maximum(released, at + window + AGE_TICK)
        end = np.maximum(np.minimum(at + life, released), at + 0.05)
        stream = self._log.add(
            place.astype(np.int32),
            np.full(len(node), -1, dtype=np.int32),
            at,
            end,
            at_origin=False,
            waiting=np.ones(len(node), dtype=bool),
        )
        nodes.take(node, stream, at, np.minimum(at + window, end))
        return stream, at
