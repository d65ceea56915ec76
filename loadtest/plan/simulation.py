"""Lets the clients of a plan live: they ask, get streams, lose them, wait as their models do, and ask again.

Each client is one event: it asks. What follows, until it asks again, is known at once: when the answer comes, when the
stream ends, how long it waits. A failure takes back what it makes untrue. Events are taken in batches of `Run.step`
seconds, and within a batch by their time; only who asks twice within one batch is taken out of turn.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.models import Loss
from loadtest.plan.curves import Curves
from loadtest.plan.edges import NO_STREAM, Edges
from loadtest.plan.failing import Failing
from loadtest.plan.fleet import DIRECT, GONE, IDLE, OPENING, RUNNING, Fleet
from loadtest.plan.settings import Plan
from loadtest.plan.waits import Waits, replace_after

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
HOT: Final = 0.1
"""Seconds: who waits for less than this between two errors is counted, not simulated, until they are over."""
SOONEST: Final = 0.001
MOST_TRIES: Final = 6
"""Times that Linux repeats a SYN (tcp_syn_retries), after 1, 2, 4 … s."""
LAST_RESORT: Final = (2.0, 10.0)
"""Seconds of the `retry:` that our edge sends when nothing answers at all."""


class Simulation:
    """One run of a plan on `processes` of the origin; the same seed gives the same."""

    def __init__(self, plan: Plan, processes: int) -> None:
        self.plan = plan
        self.chance = np.random.default_rng(plan.run.seed)
        self.fleet = Fleet.of(plan, self.chance)
        self.edges = Edges(plan, processes, self.chance)
        self.curves = Curves(plan, len(self.fleet.models), self.edges.waits)
        self.waits = Waits(self.fleet.models)
        self.failing = Failing(self)
        self.curves.began.enter(self.fleet.due)
        self.now = 0.0
        models = self.fleet.models
        self._keeps = np.array([model.keeps_connection and not model.replaces for model in models])
        self._replaces = np.array([model.replaces for model in models])
        self._short = np.array([model.short for model in models])
        self._proven = np.array([model.proven for model in models])
        self._timeout = np.array([model.open_timeout for model in models])
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
        for number in range(steps):
            until = min(begin + (number + 1) * step, end)
            now = due[again] < until
            batch = np.concatenate([soon[bounds[number] : bounds[number + 1]], again[now]])
            again = again[~now]
            while len(batch):
                self._ask(batch)
                repeated = batch[due[batch] < end]
                now = due[repeated] < until
                batch, again = repeated[now], np.concatenate([again, repeated[~now]])

    def _ask(self, who: Indices) -> None:
        fleet, at = self.fleet, self.fleet.due.take(who)
        seen = fleet.rows.take(who)
        fresh = seen["tries"] == 0
        np.copyto(seen["asked"], at, where=fresh)
        lived = seen["ends"] - seen["opened"] >= self._short.take(seen["model"])
        seen["failures"][fresh & (seen["state"] == RUNNING) & lived] = 0
        fleet.note(who, seen)
        self.curves.requests.add(at[fresh])
        blocked = self.failing.blocked(who, at)
        if blocked is not None and blocked.any():
            self.refused(who[blocked], at[blocked] + self._round_trip(seen.compress(blocked)))
            who, seen, at = who[~blocked], seen.compress(~blocked), at[~blocked]
        direct = seen["pop"] == DIRECT
        if not direct.any():
            if len(who):
                self._ask_edge(who, seen, at)
            return
        self._ask_origin(who[direct], seen.compress(direct), at[direct])
        if not direct.all():
            self._ask_edge(who[~direct], seen.compress(~direct), at[~direct])

    def _round_trip(self, seen: Rows) -> Floats:
        rtt: Floats = self._rtt.take(seen["region"])
        direct = seen["pop"] == DIRECT
        if direct.any():
            rtt[direct] = self._origin_rtt[seen["region"][direct]]
        return rtt

    def _arrivals(self, who: Indices, seen: Rows, at: Floats) -> tuple[Indices, Rows, Floats, Floats]:
        """Return who asks, by when the request is there, and their rows; that moment; and half a round trip."""
        rtt = self._round_trip(seen)
        arrival = at + rtt * np.where(seen["kept"], HALF, NEW_CONNECTION)
        order = np.argsort(arrival)
        return who.take(order), seen.take(order), arrival.take(order), rtt.take(order) * HALF

    def _ask_origin(self, who: Indices, seen: Rows, at: Floats) -> None:
        fleet = self.fleet
        who, seen, at, half = self._arrivals(who, seen, at)
        away = at < self.edges.back
        if away.any():
            self.refused(who[away], at[away] + half[away])
            who, seen, at, half = who[~away], seen.compress(~away), at[~away], half[~away]
        # A connection that is used again leads to its process: one that was away long has few clients for long.
        same = np.where(seen["kept"] & (seen["stream"] < 0), -1 - seen["stream"], -1)
        process, answered, ends = self.edges.direct(at, same)
        full = np.isinf(answered)
        if full.any():
            self._full(who[full])
        let = ~full
        who, seen, at, half, ends = who[let], seen.compress(let), answered[let], half[let], ends[let]
        fleet.state[who[seen["state"] == OPENING]] = IDLE
        seen["state"][seen["state"] == OPENING] = IDLE
        window, stream = self._direct_window(ends - at), -1 - process[let]
        self._opened(who, seen, at + half, ends + half, stream, self.edges.waits(stream), ends - at, window)

    def _direct_window(self, life: Floats) -> Floats:
        window: Floats = np.minimum(self.plan.streams.join_window, np.maximum(np.floor(life - 2), 0))
        return window

    def _full(self, who: Indices) -> None:
        """Let the kernels of those that found a full queue try again."""
        fleet = self.fleet
        next_at = fleet.due[who] + 2.0 ** fleet.tries[who]
        over = np.minimum(fleet.asked[who] + self._timeout[fleet.model[who]], np.inf)
        fails = (next_at > over) | (fleet.tries[who] >= MOST_TRIES)
        self.refused(who[fails], np.where(np.isfinite(over), over, next_at)[fails])
        waits = who[~fails]
        # Who opens the next stream while it has one has not lost anything yet: it is no less open.
        fleet.due[waits] = next_at[~fails]
        fleet.tries[waits] += 1
        fleet.state[waits[(fleet.state[waits] != RUNNING) | (fleet.ends[waits] <= fleet.asked[waits])]] = OPENING

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
            self._answered_at_once(who[failed], at[failed] + half[failed])
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
        self._opened(who, seen, ready + half, end + half, stream, waiting, life - age, window)

    def _opened(  # noqa: PLR0917 - columns of one table
        self,
        who: Indices,
        seen: Rows,
        at: Floats,
        ends: Floats,
        stream: NDArray[np.int32],
        waiting: NDArray[np.bool_],
        left: Floats,
        joined: Floats,
    ) -> None:
        """Give clients their streams, and say when they ask for the next; `seen` are their rows."""
        late = at - seen["asked"] > self._timeout.take(seen["model"])
        if late.any():
            self.refused(who[late], seen["asked"][late] + self._timeout[seen["model"][late]])
            in_time = ~late
            who, seen, stream, waiting = who[in_time], seen.compress(in_time), stream[in_time], waiting[in_time]
            at, ends, left, joined = at[in_time], ends[in_time], left[in_time], joined[in_time]
        self.curves.opened(seen, at, ends, stream, waiting)
        model = seen["model"].copy()
        held = (seen["state"] == RUNNING) & (seen["ends"] >= at)
        np.copyto(seen["opened"], at, where=~held)
        seen["ends"], seen["stream"], seen["state"] = ends, stream, RUNNING
        seen["kept"] = self._keeps.take(model)
        seen["tries"] = 0
        seen["lost_at"] = np.nan
        np.copyto(seen["awaits"], np.nan, where=~waiting)
        due = ends + self.waits.seconds(model, Loss.CLEAN, seen["failures"], self._retry(len(who)), self.chance)
        short = ends - at < self._short.take(model)
        if short.any():
            seen["failures"][short] = np.minimum(seen["failures"][short], 200) + 1
            due[short] = ends[short] + self.waits.seconds(
                model[short], Loss.STATUS, seen["failures"][short], self._retry(int(short.sum())), self.chance
            )
        self.fleet.note(who, seen)
        ahead = np.flatnonzero(self._replaces[model])
        if len(ahead):
            after = replace_after(left[ahead], joined[ahead], self.chance)
            # What has been cut short meanwhile cannot be replaced ahead of its end.
            due[ahead] = np.where(at[ahead] + after < ends[ahead], at[ahead] + after, due[ahead])
        self.fleet.due[who] = np.maximum(due, at + SOONEST)

    def _retry(self, count: int) -> Floats:
        """Return the seconds that the server asks browsers for: without an edge half to one and a half, at random."""
        retry = np.full(count, self.plan.streams.retry)
        return retry if self.plan.edge.on else retry * self.chance.uniform(0.5, 1.5, count)

    def _answered_at_once(self, who: Indices, at: Floats) -> None:
        """Answer with an error, or with a stream that is over: clients come back until the origin does."""
        fleet = self.fleet
        clean = np.zeros(len(who), dtype=bool)
        retry = self._retry(len(who))
        if self.plan.edge.while_down == "last-resort":
            clean = self._short[fleet.model[who]] == 0
            retry = self.chance.uniform(*LAST_RESORT, len(who))
        for loss, part in ((Loss.CLEAN, clean), (Loss.STATUS, ~clean)):
            if part.any():
                self.lost(who[part], at[part], loss, retry[part])
        wait = fleet.due[who] - at
        hot = wait < HOT
        if not hot.any():
            return
        each = np.maximum(wait[hot] + self._round_trip(fleet.rows.take(who[hot])), SOONEST)
        begin = at[hot] + wait[hot]
        tries = np.maximum(np.ceil((self.edges.back - begin) / each), 0)
        until = begin + tries * each
        self.curves.loops.add(begin, until, tries)
        fleet.due[who[hot]] = until

    def refused(self, who: Indices, at: Floats) -> None:
        """Have clients get no answer, or none in time, by `at`."""
        self.lost(who, at, Loss.REFUSED, self._retry(len(who)))

    def broke(self, who: Indices, at: float, loss: Loss) -> None:
        """Have a failure at `at` take from clients the streams that they have, or were to have."""
        moments = np.full(len(who), at)
        self.curves.losses.add(moments)
        self._lost(who, moments, loss, self._retry(len(who)))

    def lost(self, who: Indices, at: Floats, loss: Loss, retry: Floats) -> None:
        """Have clients not get, by `at`, what they asked for, and say when they ask again."""
        self.curves.unanswered(self.fleet, who, at, loss)
        self._lost(who, at, loss, retry)

    def _lost(self, who: Indices, at: Floats, loss: Loss, retry: Floats) -> None:
        fleet = self.fleet
        holding = (fleet.state[who] == RUNNING) & (fleet.ends[who] > at)
        if loss is not Loss.CLEAN:
            model, lived = fleet.model[who], np.maximum(fleet.ends[who] - fleet.opened[who], 0.0)
            proven = (loss == Loss.CUT) & (self._proven[model] >= 0) & (lived >= self._proven[model])
            fleet.failures[who] = np.where(proven, 1, np.minimum(fleet.failures[who], 200) + 1)
        wait = self.waits.seconds(fleet.model[who], loss, fleet.failures[who], retry, self.chance)
        again = at + np.maximum(wait, SOONEST)
        fleet.due[who] = np.where(holding & ~np.isfinite(wait), fleet.ends[who] + SOONEST, again)
        fleet.tries[who] = 0
        fleet.kept[who] = loss == Loss.CLEAN
        gone = ~np.isfinite(wait) & ~holding
        fleet.state[who[~holding]] = IDLE
        fleet.state[who[gone]] = GONE
        self.curves.gave_up.enter(at[gone])
        without = ~holding & ~gone
        for column in (fleet.lost_at, fleet.awaits):
            fresh = who[without][np.isnan(column[who[without]])]
            column[fresh] = at[without][np.isnan(column[who[without]])]
