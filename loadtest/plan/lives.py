"""What becomes of clients that are answered, or not: the stream they have, and when they ask for the next one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.models import Loss
from loadtest.plan.curves import Curves
from loadtest.plan.fleet import GONE, IDLE, OPENING, RUNNING, Fleet
from loadtest.plan.settings import Plan
from loadtest.plan.waits import Waits, replace_after

__all__ = ["SOONEST", "Lives"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Rows = NDArray[np.void]
"""Of `Fleet.rows`, as a batch sees them."""

SOONEST: Final = 0.001
HOT: Final = 0.1
"""Seconds: who waits for less than this between two errors is counted, not simulated, until they are over."""
MOST_TRIES: Final = 6
"""Times that Linux repeats a SYN (tcp_syn_retries), after 1, 2, 4 … s."""
LAST_RESORT: Final = (2.0, 10.0)
"""Seconds of the `retry:` that our edge sends when nothing answers at all."""


class Lives:
    """The lives of a fleet, as its models have them; `curves` see all that happens."""

    def __init__(self, plan: Plan, fleet: Fleet, curves: Curves, chance: np.random.Generator) -> None:
        self._plan = plan
        self._fleet = fleet
        self._curves = curves
        self._chance = chance
        self._waits = Waits(fleet.models)
        models = fleet.models
        self._keeps = np.array([model.keeps_connection and not model.replaces for model in models])
        self._replaces = np.array([model.replaces for model in models])
        self._short = np.array([model.short for model in models])
        self._proven = np.array([model.proven for model in models])
        self._timeout = np.array([model.open_timeout for model in models])

    def asks(self, who: Indices, at: Floats) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the rows of who asks at `at`, and who of them does so by himself, not his kernel for him."""
        seen = self._fleet.rows.take(who)
        fresh = (seen["tries"] == 0) & ~seen["travels"]
        np.copyto(seen["asked"], at, where=fresh)
        # Who opens the next stream ahead of the end of his has come to no clean end by that.
        ended = fresh & (seen["state"] == RUNNING) & (seen["ends"] <= at)
        seen["failures"][ended & (seen["ends"] - seen["opened"] >= self._short.take(seen["model"]))] = 0
        self._fleet.note(who, seen)
        return seen, fresh

    def opened(  # noqa: PLR0917 - columns of one table
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
        self._curves.opened(seen, at, ends, stream, waiting)
        model = seen["model"].copy()
        held = (seen["state"] == RUNNING) & (seen["ends"] >= at)
        np.copyto(seen["opened"], at, where=~held)
        seen["newest"] = at
        seen["ends"], seen["stream"], seen["state"] = ends, stream, RUNNING
        seen["kept"] = self._keeps.take(model)
        seen["tries"], seen["travels"] = 0, False
        seen["lost_at"] = np.nan
        np.copyto(seen["awaits"], np.nan, where=~waiting)
        retry = self._retry(len(who))
        due = ends + self._waits.seconds(model, Loss.CLEAN, seen["failures"], retry, self._chance, at=ends)
        short = ends - at < self._short.take(model)
        if short.any():
            seen["failures"][short] = np.minimum(seen["failures"][short], 200) + 1
            due[short] = ends[short] + self._waits.seconds(
                *(model[short], Loss.STATUS, seen["failures"][short], self._retry(int(short.sum()))),
                self._chance,
                at=ends[short],
            )
        self._fleet.note(who, seen)
        ahead = np.flatnonzero(self._replaces[model])
        if len(ahead):
            after = replace_after(left[ahead], joined[ahead], self._chance)
            # What has been cut short meanwhile cannot be replaced ahead of its end.
            due[ahead] = np.where(at[ahead] + after < ends[ahead], at[ahead] + after, due[ahead])
        self._fleet.due[who] = np.maximum(due, at + SOONEST)

    def full(self, who: Indices) -> None:
        """Let the kernels of those that found a full queue try again."""
        fleet = self._fleet
        next_at = fleet.due[who] + 2.0 ** fleet.tries[who]
        over = np.minimum(fleet.asked[who] + self._timeout[fleet.model[who]], np.inf)
        fails = (next_at > over) | (fleet.tries[who] >= MOST_TRIES)
        self.refused(who[fails], np.where(np.isfinite(over), over, next_at)[fails])
        waits = who[~fails]
        # Who opens the next stream while it has one has not lost anything yet: it is no less open.
        fleet.due[waits] = next_at[~fails]
        fleet.tries[waits] += 1
        fleet.state[waits[(fleet.state[waits] != RUNNING) | (fleet.ends[waits] <= fleet.asked[waits])]] = OPENING

    def answered_at_once(self, who: Indices, at: Floats, round_trip: Floats, back: float) -> None:
        """Answer with an error, or with a stream that is over: clients come back until the origin does, at `back`."""
        fleet = self._fleet
        clean = np.zeros(len(who), dtype=bool)
        retry = self._retry(len(who))
        if self._plan.edge.while_down == "last-resort":
            clean = self._short[fleet.model[who]] == 0
            retry = self._chance.uniform(*LAST_RESORT, len(who))
        for loss, part in ((Loss.CLEAN, clean), (Loss.STATUS, ~clean)):
            if part.any():
                self.lost(who[part], at[part], loss, retry[part])
        wait = fleet.due[who] - at
        hot = wait < HOT
        if not hot.any():
            return
        each = np.maximum(wait[hot] + round_trip[hot], SOONEST)
        begin = at[hot] + wait[hot]
        tries = np.maximum(np.ceil((back - begin) / each), 0)
        until = begin + tries * each
        self._curves.loops.add(begin, until, tries)
        fleet.due[who[hot]] = until

    def refused(self, who: Indices, at: Floats) -> None:
        """Have clients get no answer, or none in time, by `at`."""
        self.lost(who, at, Loss.REFUSED, self._retry(len(who)))

    def broke(self, who: Indices, at: float, loss: Loss) -> None:
        """Have a failure at `at` take from clients the streams that they have, or were to have."""
        moments = np.full(len(who), at)
        self._curves.losses.add(moments)
        self._lost(who, moments, loss, self._retry(len(who)))

    def lost(self, who: Indices, at: Floats, loss: Loss, retry: Floats) -> None:
        """Have clients not get, by `at`, what they asked for, and say when they ask again."""
        self._curves.unanswered(self._fleet, who, at, loss)
        self._lost(who, at, loss, retry)

    def _lost(self, who: Indices, at: Floats, loss: Loss, retry: Floats) -> None:
        fleet = self._fleet
        holding = (fleet.state[who] == RUNNING) & (fleet.ends[who] > at)
        if loss is not Loss.CLEAN:
            model, lived = fleet.model[who], np.maximum(fleet.ends[who] - fleet.newest[who], 0.0)
            proven = (loss == Loss.CUT) & (self._proven[model] >= 0) & (lived >= self._proven[model])
            fleet.failures[who] = np.where(proven, 1, np.minimum(fleet.failures[who], 200) + 1)
        wait = self._waits.seconds(fleet.model[who], loss, fleet.failures[who], retry, self._chance, at=at)
        again = at + np.maximum(wait, SOONEST)
        fleet.due[who] = np.where(holding & ~np.isfinite(wait), fleet.ends[who] + SOONEST, again)
        fleet.tries[who] = 0
        fleet.travels[who] = False
        fleet.kept[who] = loss == Loss.CLEAN
        gone = ~np.isfinite(wait) & ~holding
        fleet.state[who[~holding]] = IDLE
        fleet.state[who[gone]] = GONE
        self._curves.gave_up.enter(at[gone])
        without = ~holding & ~gone
        for column in (fleet.lost_at, fleet.awaits):
            fresh = who[without][np.isnan(column[who[without]])]
            column[fresh] = at[without][np.isnan(column[who[without]])]

    def _retry(self, count: int) -> Floats:
        """Return the seconds that the server asks browsers for: without an edge half to one and a half, at random."""
        retry = np.full(count, self._plan.streams.retry)
        return retry if self._plan.edge.on else retry * self._chance.uniform(0.5, 1.5, count)
