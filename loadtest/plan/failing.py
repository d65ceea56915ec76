"""What fails, and what it does to those who were there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loadtest.models import Loss
from loadtest.plan.fleet import DIRECT, RUNNING
from loadtest.plan.settings import Failure

if TYPE_CHECKING:
    from loadtest.plan.simulation import Simulation

__all__ = ["Failing"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Failing:
    """The failures of a plan, in order; `next_at` is when the next one begins or ends."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        plan = simulation.plan
        self._moments = sorted(
            (moment, number, begins)
            for number, failure in enumerate(plan.failures)
            for moment, begins in ((failure.at, True), (failure.at + failure.down, False))
        )
        self._failures = plan.failures
        self._homes = np.zeros(max(plan.pops, 1), dtype=bool)
        self._reached = -np.inf
        self._deaths = np.zeros(simulation.edges.origin.count, dtype=np.int64)

    @property
    def next_at(self) -> float:
        """The next moment."""
        return self._moments[0][0] if self._moments else np.inf

    def at(self, now: float) -> None:
        """Do what is to be done by `now`."""
        while self._moments and self._moments[0][0] <= now:
            _, number, begins = self._moments.pop(0)
            failure = self._failures[number]
            if failure.do == "deploy":
                continue
            if begins:
                self._begin(number, failure, now)
            elif failure.do in {"pop", "cdn"}:
                # Whoever asks from now on asks where it used to; streams that run are left alone.
                fleet = self._simulation.fleet
                fleet.pop[:] = fleet.home
                self._homes[:] = False

    def blocked(self, who: Indices, at: Floats) -> NDArray[np.bool_] | None:
        """Tell who of those that ask cannot get anywhere: their POP is lost and they have not heard of another."""
        if at.min() >= self._reached:
            return None
        home = self._simulation.fleet.home[who]
        found: NDArray[np.bool_] = (at < self._reached) & (home != DIRECT) & self._homes[home]
        return found

    def _begin(self, number: int, failure: Failure, now: float) -> None:
        simulation = self._simulation
        edges = simulation.edges
        log = edges.log
        if failure.do == "origin":
            lost, through = log.process >= 0, np.ones(edges.origin.count, dtype=bool)
            edges.origin.back = now + failure.down
            edges.origin.die(np.arange(edges.origin.count), edges.origin.back)
        elif failure.do == "workers":
            count = max(1, round(failure.share * edges.origin.count))
            # Those that have died least often: the one that is new is not what one is afraid for.
            dead = np.lexsort((simulation.chance.random(edges.origin.count), self._deaths))[:count]
            self._deaths[dead] += 1
            through = np.zeros(edges.origin.count, dtype=bool)
            through[dead] = True
            lost = (log.process >= 0) & through[log.process]
            edges.origin.die(dead, now + np.maximum(failure.down, edges.origin.restart(len(dead))))
        else:
            through = np.zeros(edges.origin.count, dtype=bool)
            pops = np.arange(simulation.plan.pops) < (failure.count if failure.do == "pop" else simulation.plan.pops)
            lost = np.ones(log.count, dtype=bool)
            if failure.do == "pop":
                # A shield's streams have negative places, and outlive the POPs that they fed.
                lost = (log.place >= 0) & pops[log.place]
            self._reroute(pops, elsewhere=failure.do == "pop")
            self._homes, self._reached = pops, now + failure.reroute
        self._cut(number, lost, through, now)

    def _reroute(self, pops: NDArray[np.bool_], *, elsewhere: bool) -> None:
        """Send the clients of lost POPs to others of their region, or of any where it has none, or to the origin."""
        simulation = self._simulation
        fleet = simulation.fleet
        away = np.flatnonzero((fleet.home != DIRECT) & pops[fleet.home])
        if not elsewhere:
            fleet.pop[away] = DIRECT
            return
        for region in range(len(simulation.plan.regions)):
            movers = away[fleet.region[away] == region]
            alive = np.flatnonzero(~pops & (simulation.edges.region_of_pop == region))
            if not len(alive):
                alive = np.flatnonzero(~pops)
            fleet.pop[movers] = alive[simulation.chance.integers(len(alive), size=len(movers))]

    def _cut(self, number: int, lost: NDArray[np.bool_], through: NDArray[np.bool_], now: float) -> None:
        """Cut streams of the edge, by number, and those that clients hold at processes of the origin."""
        simulation = self._simulation
        fleet, edges = simulation.fleet, simulation.edges
        running = np.flatnonzero((fleet.state == RUNNING) & (fleet.ends > now))
        stream = fleet.stream[running]
        at_edge = stream >= 0
        hit = np.zeros(len(running), dtype=bool)
        hit[at_edge] = lost[stream[at_edge]]
        hit[~at_edge] = through[-1 - stream[~at_edge]]
        who = running[hit]
        simulation.curves.broken(fleet, who, now)
        edges.lose(lost, now)
        flying = fleet.opened[who] > now
        fleet.ends[who] = now
        simulation.curves.cut[number] = int((~flying).sum())
        for part, loss in ((who[~flying], Loss.CUT), (who[flying], Loss.REFUSED)):
            simulation.lives.broke(part, now, loss)
