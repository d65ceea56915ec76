"""Lets the clients of a plan live: they ask, get streams, lose them, wait as their models do, and ask again.

Each client is one event: it asks. What follows, until it asks again, is known at once: when the answer comes, when the
stream ends, how long it waits. A failure takes back what it makes untrue. Events are taken in batches of `Run.step`
seconds, and within a batch by their time; only who asks twice within one batch is taken out of turn.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.plan.curves import Curves
from loadtest.plan.edges import NO_STREAM, Edges
from loadtest.plan.failing import Failing
from loadtest.plan.fetching import Fetching
from loadtest.plan.fleet import DIRECT, IDLE, OPENING, Fleet
from loadtest.plan.lives import Lives
from loadtest.plan.settings import Plan

__all__ = ["Simulation"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Rows = NDArray[np.void]
"""Of `Fleet.rows`, as a batch sees them."""

EPOCH: Final = 0.5
"""Seconds after which all clients are looked through for those who ask soon."""
NEW_CONNECTION: Final = 2.5
"""Round trips until a request is there: TCP, TLS 1.3, and half of one for the request."""
HALF: Final = 0.5


class Simulation:
    """One run of a plan on `processes` of the origin; the same seed gives the same."""

    def __init__(self, plan: Plan, processes: int) -> None:
        self.plan = plan
        self.chance = np.random.default_rng(plan.run.seed)
        self.fleet = Fleet.of(plan, self.chance)
        self.edges = Edges(plan, processes, self.chance)
        self.curves = Curves(plan, len(self.fleet.models), self.edges.waits)
        self.lives = Lives(plan, self.fleet, self.curves, self.chance)
        self.failing = Failing(self)
        self.curves.began.enter(self.fleet.due)
        self.now = 0.0
        self._fetching = Fetching(plan, self.fleet.models)
        self._rtt = np.array([region.rtt_ms / 1e3 for region in plan.regions])
        self._origin_rtt = np.array([region.origin_rtt_ms / 1e3 for region in plan.regions])

    def run(self) -> Curves:
        """Live through the whole plan and return what was seen."""
        while self.now < self.plan.run.seconds:
            self.advance()
        self.curves.finish(self.fleet)
        return self.curves

    def advance(self) -> float:
        """Live on until the next epoch or failure, and return what time it is then."""
        end = min(self.now + EPOCH, self.failing.next_at, self.plan.run.seconds)
        self._live(self.now, end)
        self.now = end
        self.failing.at(end)
        return end

    def _live(self, begin: float, end: float) -> None:
        due, step = self.fleet.due, self.plan.run.step
        soon = np.flatnonzero(due < end)
        steps = int(np.ceil((end - begin) / step - 1e-9))
        which = np.clip((due[soon] - begin) / step, 0, steps - 1).astype(np.int16)
        soon = soon[np.argsort(which, kind="stable")]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=steps))])
        again = soon[:0]
        origin, streams = self.edges.origin, self.curves.direct.at(begin)
        work = origin.told(streams, streams * self._fetching.told_per_s, step)
        for number in range(steps):
            until = min(begin + (number + 1) * step, end)
            origin.occupy(begin + number * step, work)
            now = due[again] < until
            batch = np.concatenate([soon[bounds[number] : bounds[number + 1]], again[now]])
            again = again[~now]
            while len(batch):
                self._ask(batch)
                repeated = batch[due[batch] < end]
                now = due[repeated] < until
                batch, again = repeated[now], np.concatenate([again, repeated[~now]])

    def _ask(self, who: Indices) -> None:
        at = self.fleet.due.take(who)
        seen, fresh = self.lives.asks(who, at)
        self.curves.requests.add(at[fresh])
        blocked = self.failing.blocked(who, at)
        if blocked is not None:
            blocked &= ~seen["travels"]
            self.lives.refused(who[blocked], at[blocked] + self._round_trip(seen.compress(blocked)))
            who, seen, at = who[~blocked], seen.compress(~blocked), at[~blocked]
        direct = (seen["pop"] == DIRECT) | seen["travels"]
        if not direct.any():
            if len(who):
                self._ask_edge(who, seen, at)
            return
        self._set_out(who[direct], seen.compress(direct), at[direct])
        if not direct.all():
            self._ask_edge(who[~direct], seen.compress(~direct), at[~direct])

    def _round_trip(self, seen: Rows) -> Floats:
        rtt: Floats = self._rtt.take(seen["region"])
        direct = (seen["pop"] == DIRECT) | seen["travels"]
        if direct.any():
            rtt[direct] = self._origin_rtt[seen["region"][direct]]
        return rtt

    def _set_out(self, who: Indices, seen: Rows, at: Floats) -> None:
        """Send requests to the origin; its queues are of those who are there, by the time at which they come.

        Taken as they are sent, one from afar would keep a queue busy before those who come sooner from nearby.
        """
        rtt = self._round_trip(seen)
        travels = (rtt > 0) & ~seen["travels"] & (seen["tries"] == 0)
        if travels.any():
            away = who[travels]
            self.fleet.due[away] = at[travels] + (rtt * np.where(seen["kept"], HALF, NEW_CONNECTION))[travels]
            self.fleet.travels[away] = True
            here = ~travels
            who, seen, at, rtt = who[here], seen.compress(here), at[here], rtt[here]
        if len(who):
            order = np.argsort(at, kind="stable")
            self._ask_origin(who.take(order), seen.take(order), at.take(order), rtt.take(order) * HALF)

    def _arrivals(self, who: Indices, seen: Rows, at: Floats) -> tuple[Indices, Rows, Floats, Floats]:
        """Return who asks an edge, by when the request is there, and their rows; that moment; and half a round trip."""
        rtt = self._round_trip(seen)
        arrival = at + rtt * np.where(seen["kept"], HALF, NEW_CONNECTION)
        order = np.argsort(arrival)
        return who.take(order), seen.take(order), arrival.take(order), rtt.take(order) * HALF

    def _ask_origin(self, who: Indices, seen: Rows, at: Floats, half: Floats) -> None:
        fleet = self.fleet
        away = at < self.edges.origin.back
        if away.any():
            self.lives.refused(who[away], at[away] + half[away])
            who, seen, at, half = who[~away], seen.compress(~away), at[~away], half[~away]
        # A connection that is used again leads to its process: one that was away long has few clients for long.
        same = np.where(seen["kept"] & (seen["stream"] < 0), -1 - seen["stream"], -1)
        process, answered, ends = self.edges.direct(at, same)
        full = np.isinf(answered)
        if full.any():
            self.lives.full(who[full])
        let = ~full
        who, seen, at, half, ends = who[let], seen.compress(let), answered[let], half[let], ends[let]
        fleet.state[who[seen["state"] == OPENING]] = IDLE
        seen["state"][seen["state"] == OPENING] = IDLE
        self.edges.origin.fetched(process[let], self._fetching.after_opening(seen, at))
        window, stream = self._direct_window(ends - at), -1 - process[let]
        self.lives.opened(who, seen, at + half, ends + half, stream, self.edges.waits(stream), ends - at, window)

    def _direct_window(self, life: Floats) -> Floats:
        window: Floats = np.minimum(self.plan.streams.join_window, np.maximum(np.floor(life - 2), 0))
        return window

    def _ask_edge(self, who: Indices, seen: Rows, at: Floats) -> None:
        edges = self.edges
        who, seen, at, half = self._arrivals(who, seen, at)
        pop = seen["pop"].astype(np.int32)
        at = edges.queue(pop, at)
        if not np.all(at[:-1] <= at[1:]):
            order = np.argsort(at, kind="stable")
            who, seen, at, half, pop = who[order], seen.take(order), at[order], half[order], pop[order]
        stream, ready = edges.join(pop, seen["environment"], at)
        failed = stream == NO_STREAM
        if failed.any():
            self.lives.answered_at_once(who[failed], at[failed] + half[failed], half[failed] / HALF, edges.origin.back)
            let = ~failed
            who, seen, at, half, stream, ready = (
                who[let],
                seen.compress(let),
                at[let],
                half[let],
                stream[let],
                ready[let],
            )
        begin, end = edges.log.begin.take(stream), edges.log.end.take(stream)
        waiting = edges.waits(stream)
        age = np.floor(np.maximum(at - begin, 0.0))
        life = np.where(waiting, end - begin, self.plan.streams.lifetime)
        window = np.maximum(edges.joinable(stream, waiting) - age, 0)
        self.lives.opened(who, seen, ready + half, end + half, stream, waiting, life - age, window)
