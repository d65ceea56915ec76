"""The stream servers: which process a request gets to, how long it waits there, and what else the processes do."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.plan.demand import events_per_s, fetching_share
from loadtest.plan.doors import Doors
from loadtest.plan.settings import Plan

__all__ = ["Origin"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

UNEVEN: Final = 0.1
"""Share by which a start takes longer or shorter: no scheduler gives two processes that start together the same."""
MOST_LOAD: Final = 0.9
"""Share of a process that telling and documents take at most: accepting has its turn, and versions are conflated."""
FEW: Final = 0.3
"""What a process has of an edge's connections after its restart, beside one that nothing happened to: new ones are made
only while all others are in use. In three runs 6, 10 and 50 % of the streams were at it after 25 s."""
KEPT_FOR: Final = 60.0
"""Seconds for which an edge keeps a connection that nobody uses (Varnish's `backend_idle_timeout`)."""


class Origin:
    """`count` processes on the cores of a plan."""

    def __init__(self, plan: Plan, count: int, chance: np.random.Generator) -> None:
        self.count = count
        self._plan = plan
        self._chance = chance
        costs = plan.costs
        self._cores = plan.origin.cores or count
        handshake = costs.tls_open_us if plan.origin.tls else 0.0
        self.doors = Doors(count, (costs.open_us + handshake) * 1e-6 / self.speed(count), plan.origin.backlog)
        self.back = -np.inf
        """Until when the port refuses."""
        documents = plan.environments.count * events_per_s(plan) * bool(fetching_share(plan))
        self._spares: Floats | None = np.ones(count) if documents * KEPT_FOR >= 1 else None
        """How many of an edge's spare connections lead to each process, once it is up; None: nothing keeps any open."""

    def speed(self, busy: int) -> float:
        """Return the share of a core that each of so many processes gets when all want one."""
        return min(self._plan.origin.share, self._cores / max(busy, 1))

    def restart(self, dead: int) -> Floats:
        """Return the seconds that each of so many processes takes to start: it compiles and imports, on one core."""
        uneven = 1 + UNEVEN * self._chance.uniform(-1, 1, dead)
        seconds: Floats = self._plan.origin.restart / self.speed(dead) * uneven
        return seconds

    def die(self, dead: NDArray[np.intp], until: Floats | float) -> None:
        """Let nobody through to `dead` before `until`, and take from edges their connections to them."""
        self.doors.shut(dead, until)
        if self._spares is not None:
            self._spares[dead] = FEW

    def anywhere(self, count: int) -> Ints:
        """Return the processes that new connections lead to: the kernel gives each to any."""
        return self._chance.integers(self.count, size=count, dtype=np.int32)

    def by_spares(self, at: Floats) -> Ints:
        """Return the processes that an edge's requests get to at `at`: on spare connections, which documents leave.

        Those to a process that died are gone. Where all have, new ones are made.
        """
        alive = None if self._spares is None else self._spares * self.doors.are_up(float(at[0]))
        if alive is None or not alive.any():
            return self.anywhere(len(at))
        ends = np.cumsum(alive)
        drawn = np.searchsorted(ends, self._chance.random(len(at)) * ends[-1], side="right")
        found: Ints = np.minimum(drawn, self.count - 1).astype(np.int32)
        return found

    def occupy(self, at: float, seconds: float) -> None:
        """Have the processes that are up work for `seconds` of CPU together, behind what waits already."""
        if seconds > 0:
            self.doors.occupy(at, seconds / self.count / self.speed(self.count))

    def fetched(self, process: Ints, seconds: Floats) -> None:
        """Have processes work for so many seconds of CPU, for clients that they have let in."""
        work = np.bincount(process, weights=seconds, minlength=self.count)
        self.doors.put_behind(work / self.speed(self.count))

    def told(self, streams: float, documents: float, seconds: float) -> float:
        """Return the CPU seconds that `streams` and `documents` a second take in `seconds`."""
        plan, costs = self._plan, self._plan.costs
        delivery = costs.delivery_us + (costs.tls_delivery_us if plan.origin.tls else 0.0)
        told = streams * (events_per_s(plan) + 1 / plan.streams.heartbeat) * delivery + documents * costs.document_us
        return min(told * 1e-6, MOST_LOAD * self.count * self.speed(self.count)) * seconds
