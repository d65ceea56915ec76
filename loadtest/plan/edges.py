"""What is between a client and the origin's processes: edge nodes, shields, the waiting room, and the doors.

Times are those at the edge: a stream begins when its head is there. Messages between tiers take half a round trip each
way on connections that are open already.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadtest.plan.demand import JITTER
from loadtest.plan.doors import Doors
from loadtest.plan.nodes import Log, Nodes
from loadtest.plan.origin import Origin
from loadtest.plan.series import Level, Rate
from loadtest.plan.settings import Plan
from loadtest.plan.waiting_room import NO_STREAM, WaitingRoom

__all__ = ["NO_STREAM", "Edges"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class Edges:
    """The caches and the origin of one simulation."""

    def __init__(self, plan: Plan, processes: int, chance: np.random.Generator) -> None:
        self._plan = plan
        self._chance = chance
        self._environments = plan.environments.count
        pops = plan.pops if plan.edge.on else 0
        self.region_of_pop = np.repeat(np.arange(len(plan.regions)), [region.pops for region in plan.regions])
        self._rtt = np.array([region.rtt_ms / 1e3 for region in plan.regions])
        self._origin_rtt = np.array([region.origin_rtt_ms / 1e3 for region in plan.regions])
        self._pops = Nodes(pops * self._environments)
        self._shield = plan.edge.shield if plan.edge.on else "none"
        shields = {"none": 0, "one": 1, "region": len(plan.regions)}[self._shield]
        self._shields = Nodes(shields * self._environments)
        self.log = Log()
        self.origin = Origin(plan, processes, chance)
        nodes = max(len(self._pops.stream), len(self._shields.stream))
        self._room = WaitingRoom(plan, self.origin, self.log, nodes, chance)
        self._queues = (
            Doors(pops, 1 / plan.edge.opens_per_s, 1_000_000) if plan.edge.opens_per_s and plan.edge.on else None
        )
        width = plan.run.bin
        self.origin_requests = Rate(plan.run.seconds, width)
        self.origin_opens = Rate(plan.run.seconds, width)
        self.origin_streams = Level(plan.run.seconds, width)

    def queue(self, pop: Ints, at: Floats) -> Floats:
        """Return when POPs get to those who come at ascending `at`."""
        return at if self._queues is None else self._queues.admit(pop.astype(np.intp), at)

    def join(self, pop: Ints, environment: Ints, at: Floats) -> tuple[Ints, Floats]:
        """Return the numbers of the streams that those get who ask `pop` at ascending `at`, and when they have them.

        `NO_STREAM` is an error: no origin answers, and there is no waiting room.
        """
        return self._join(self._pops, pop * self._environments + environment, at, shield=False)

    def joinable(self, stream: Ints, waiting: NDArray[np.bool_]) -> Floats:
        """Return for how many seconds of its life each stream may be joined; `waiting`: see `waits`."""
        window = np.full(len(stream), float(self._plan.streams.join_window))
        if waiting.any():
            lives = self.log.end[stream[waiting]] - self.log.begin[stream[waiting]]
            window[waiting] = np.maximum(np.floor(lives) - 1 - self._plan.tiers, 0)
        return window

    def waits(self, stream: Ints) -> NDArray[np.bool_]:
        """Tell which streams, as clients have them, come from a waiting room."""
        if not self._room.was_used:
            return np.zeros(len(stream), dtype=bool)
        waiting: NDArray[np.bool_] = (stream >= 0) & self.log.waiting[np.maximum(stream, 0)]
        return waiting

    def direct(self, at: Floats, same: Ints) -> tuple[Ints, Floats, Floats]:
        """Return process, answer and end of streams asked of the origin itself; infinite: its queue is full.

        `same` is the process that a connection leads to which is used again, and -1 where there is none: the kernel
        gives a new one to any.
        """
        process = np.where(same >= 0, same, self.origin.anywhere(len(at)))
        answered = self.origin.doors.admit(process.astype(np.intp), at)
        let = np.isfinite(answered)
        self.origin_requests.add(at[let])
        self.origin_opens.add(answered[let])
        life = np.full(len(at), self._plan.streams.lifetime)
        if not self._plan.edge.on:
            life *= 1 - JITTER * self._chance.random(len(at))
        return process, answered, answered + life

    def lose(self, lost: NDArray[np.bool_], at: float) -> None:
        """Cut streams, by number, that live at `at`."""
        lost &= self.log.end > at
        held = lost & self.log.at_origin
        self.origin_streams.enter(self.log.end[held])
        self.origin_streams.leave(np.maximum(self.log.begin[held], at))
        self.log.end[lost] = at
        self._pops.forget(lost)
        self._shields.forget(lost)

    def _join(self, nodes: Nodes, node: Ints, at: Floats, *, shield: bool) -> tuple[Ints, Floats]:
        missing = nodes.missing(node, at)
        stream = np.where(missing, NO_STREAM, nodes.stream[node]).astype(np.int32)
        ready = np.where(missing, at, np.maximum(at, nodes.ready[node]))
        left = np.flatnonzero(missing)
        while len(left):
            # With nothing to join each opens a stream of its own; else the first of a node does, for all of it.
            alone = self._plan.streams.join_window == 0
            openers = left if alone else left[nodes.first(node[left])]
            opened, heads = self._open(nodes, node[openers], at[openers], shield=shield)
            stream[openers], ready[openers] = opened, heads
            if alone or (opened == NO_STREAM).any():
                break
            left = np.setdiff1d(left, openers, assume_unique=True)
            found = left[~nodes.missing(node[left], at[left])]
            stream[found], ready[found] = nodes.stream[node[found]], np.maximum(at[found], nodes.ready[node[found]])
            left = np.setdiff1d(left, found, assume_unique=True)
        return stream, ready

    def _open(self, nodes: Nodes, node: Ints, at: Floats, *, shield: bool) -> tuple[Ints, Floats]:
        """Open the next stream of nodes; each node is there once unless nobody may join."""
        place, environment = node // self._environments, node % self._environments
        if shield:
            leg = np.full(len(node), 0.0) if self._shield == "one" else self._origin_rtt[place] / 2
            return self._ask_origin(nodes, node, at, leg, -1 - place)
        region = self.region_of_pop[place]
        if self._shield == "none":
            return self._ask_origin(nodes, node, at, self._origin_rtt[region] / 2, place)
        # The one shield stands beside the origin, those of the regions as near to their POPs as clients do.
        one = self._shield == "one"
        leg = (self._origin_rtt if one else self._rtt)[region] / 2
        behind = ((0 if one else region) * self._environments + environment).astype(np.int32)
        order = np.argsort(at + leg, kind="stable")
        parent = np.empty(len(node), dtype=np.int32)
        ready = np.empty(len(node), dtype=np.float64)
        parent[order], ready[order] = self._join(self._shields, behind[order], (at + leg)[order], shield=True)
        if (parent == NO_STREAM).any():
            return parent, ready + leg
        log = self.log
        window = self.joinable(parent, self.waits(parent))
        begin, end = log.begin[parent], log.end[parent]
        # A follower keeps the age of what it joined: its window ends with that of the stream itself.
        stream = log.add(
            place.astype(np.int32), log.process[parent], begin, end, at_origin=False, waiting=log.waiting[parent]
        )
        nodes.take(node, stream, ready + leg, begin + window)
        return stream, ready + leg

    def _ask_origin(self, nodes: Nodes, node: Ints, at: Floats, leg: Floats, place: Ints) -> tuple[Ints, Floats]:
        order = np.argsort(at + leg, kind="stable")
        arrival = (at + leg)[order]
        if arrival[0] < self.origin.back:
            self.origin_requests.add(at[self._room.asks_origin(node, at)])
            return self._room.open(nodes, node, at, place)
        self.origin_requests.add(arrival)
        process = np.empty(len(node), dtype=np.int32)
        process[order] = self.origin.by_spares(arrival)
        answered = np.empty(len(node), dtype=np.float64)
        answered[order] = self.origin.doors.admit(process[order].astype(np.intp), arrival)
        # An edge has its connections already: what does not fit into a queue comes a second later.
        late = np.isinf(answered)
        doors = self.origin.doors
        answered[late] = at[late] + leg[late] + 1.0 + doors.backlog * doors.service
        self.origin_opens.add(answered)
        ready = answered + leg
        end = ready + self._plan.streams.lifetime
        self.origin_streams.enter(ready)
        self.origin_streams.leave(end)
        stream = self.log.add(
            place.astype(np.int32), process, ready, end, at_origin=True, waiting=np.zeros(len(node), dtype=bool)
        )
        nodes.take(node, stream, ready, ready + self._plan.streams.join_window)
        return stream, ready
