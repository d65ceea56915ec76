"""What a simulation shows: how many clients are where, how often something happens, how long they were away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.models import Loss
from loadtest.plan.fleet import OPENING, RUNNING, Fleet
from loadtest.plan.series import Level, Rate, Spread
from loadtest.plan.settings import Plan

__all__ = ["Curves"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

TICK: Final = 0.01
LONGEST: Final = 1200.0
"""Seconds of the time away that is told apart, to ten milliseconds."""


class Curves:
    """One of each for a run; levels are noted ahead, and taken back where a failure makes them untrue."""

    def __init__(self, plan: Plan, models: int, waits: Callable[[NDArray[np.int32]], NDArray[np.bool_]]) -> None:
        self._waits = waits
        seconds, width = plan.run.seconds, plan.run.bin
        self.seconds, self.width = seconds, width
        self.began = Level(seconds, width)
        self.through_edge = Level(seconds, width)
        """Clients whose stream comes through an edge, a waiting room's included."""
        self.direct = Level(seconds, width)
        self.in_waiting_room = Level(seconds, width)
        self.connecting = Level(seconds, width)
        self.gave_up = Level(seconds, width)
        self.requests = Rate(seconds, width)
        self.loops = Spread(seconds, width)
        """Requests of those who come back at once, as often as they can."""
        self.opens = Rate(seconds, width)
        self.opens_by_model = np.zeros(models, dtype=np.int64)
        """Over the whole run."""
        self.losses = Rate(seconds, width)
        self._starts = np.array(sorted(failure.at for failure in plan.failures))
        shape = (len(plan.failures), int(LONGEST / TICK) + 1)
        self.away = np.zeros(shape, dtype=np.int64)
        """By failure: how many were without any stream for how long."""
        self.unserved = np.zeros(shape, dtype=np.int64)
        """The same until a stream of the origin's."""
        self.cut = np.zeros(len(plan.failures), dtype=np.int64)

    def opened(
        self, seen: NDArray[np.void], at: Floats, ends: Floats, stream: NDArray[np.int32], waiting: NDArray[np.bool_]
    ) -> None:
        """Note streams of clients whose rows are `seen` as they were before."""
        began, over = self.opens.places(at), self.opens.places(ends)
        self.opens.count(began)
        self.opens_by_model += np.bincount(seen["model"], minlength=len(self.opens_by_model))
        had = (seen["state"] == RUNNING) & (seen["ends"] > seen["asked"])
        held = had & (seen["ends"] >= at)
        # The one that is left for this one ends now.
        if held.any():
            self._take_back(seen["ends"][held], seen["stream"][held], at[held])
        direct = stream < 0
        for level, part in ((self.direct, direct), (self.through_edge, ~direct), (self.in_waiting_room, waiting)):
            if part.all():
                level.count(began)
                level.count(over, -1.0)
            elif part.any():
                level.count(began[part])
                level.count(over[part], -1.0)
        asks = ~held
        self.connecting.enter(np.where(had, seen["ends"], seen["asked"])[asks])
        self.connecting.count(began[asks], -1.0)
        self._returned(self.away, seen["lost_at"], at, asks)
        self._returned(self.unserved, seen["awaits"], at, ~waiting)

    def _take_back(self, ends: Floats, stream: NDArray[np.int32], at: Floats) -> None:
        """End streams at `at` instead of at their end."""
        direct = stream < 0
        for level, part in (
            (self.direct, direct),
            (self.through_edge, ~direct),
            (self.in_waiting_room, self._waits(stream)),
        ):
            if part.any():
                level.enter(ends[part])
                level.leave(at[part])

    def broken(self, fleet: Fleet, who: Indices, at: float) -> None:
        """Take back what was noted of streams that live at `at`, or were to open after it."""
        flying = fleet.opened[who] > at
        moments = np.where(flying, fleet.opened[who], at)
        self._take_back(fleet.ends[who], fleet.stream[who], moments)
        self.connecting.enter(fleet.opened[who[flying]])
        self.connecting.leave(np.full(int(flying.sum()), at))
        self.opens.add(fleet.opened[who[flying]], -1.0)

    def unanswered(self, fleet: Fleet, who: Indices, at: Floats, loss: Loss) -> None:
        """Note clients that did not get what they asked for, before the fleet does."""
        running = fleet.state[who] == RUNNING
        asks = ~(running & (fleet.ends[who] > at))
        who, at, running = who[asks], at[asks], running[asks]
        if loss is not Loss.CLEAN:
            self.losses.add(at)
        self.connecting.enter(np.maximum(fleet.asked[who], np.where(running, fleet.ends[who], 0.0)))
        self.connecting.leave(at)

    def _returned(
        self, histogram: NDArray[np.int64], lost_at: NDArray[np.float32], at: Floats, who: NDArray[np.bool_]
    ) -> None:
        known = ~np.isnan(lost_at) & who
        if not known.any() or not len(self._starts):
            return
        since = lost_at[known].astype(np.float64)
        fault = np.searchsorted(self._starts, since + TICK / 2, side="right") - 1
        ticks = np.clip((at[known] - since) / TICK + 1, 0, histogram.shape[1] - 1).astype(np.intp)
        named = fault >= 0
        np.add.at(histogram, (fault[named], ticks[named]), 1)

    def finish(self, fleet: Fleet) -> None:
        """Note who stands before a full queue still, now that the run is over."""
        self.connecting.enter(fleet.asked[fleet.state == OPENING])
