"""One client: comes, stays for a while, gives up, leaves, and is followed by another in its place."""

from __future__ import annotations

import math
from time import monotonic

from loadtest.models import Loading
from loadtest.swarm.holder import DEAF, FETCH, GAVE_UP, GONE, HOME, LOADING
from loadtest.swarm.opener import OPEN, Opener

__all__ = ["Client"]

LEAVE, RETURN = OPEN + 1, OPEN + 2
"""What a timer is for."""


class Client(Opener):
    """One client of a crew, in one environment; the state of ten thousands of them is what a generator weighs."""

    __slots__ = ()

    def begin(self, when: float) -> None:
        """Be there from `when` on."""
        crew = self.crew
        crew.tally.clients += 1
        crew.tally.waiting += 1
        self.cell.comes()
        if crew.group.loads and crew.group.fetches and crew.model.loads is not Loading.NEVER:
            self._flags |= LOADING
        self._open_at(when)
        if crew.group.stays is not None:
            crew.loop.at(when + crew.chance.uniform(*crew.group.stays), self, LEAVE)

    def fire(self, kind: int, when: float, now: float) -> None:
        """Take that a moment has come, if it is still the one waited for."""
        if kind == OPEN:
            if when == self._due:
                self._due = math.inf
                self._start(now)
        elif kind == FETCH:
            self._fetch_due(when, now)
        elif self.crew.run.settling:
            return
        elif kind == LEAVE:
            if self.leave():  # an app that gave up is closed by its user like any other, and opened again
                self.crew.loop.at(now + self.crew.chance.uniform(*self.crew.group.away), self, RETURN)
        elif not self._flags & HOME:
            self._forget()
            self._forget_streams()
            self.begin(now)

    def _give_up(self) -> None:
        self._heal()
        self._flags |= GONE | GAVE_UP
        self.crew.tally.waiting -= 1
        self.crew.tally.gave_up += 1
        self.crew.tally.given_up += 1
        if self._flags & DEAF:
            self.crew.tally.deaf -= 1
        else:
            self.cell.leaves(self.held, self.crew.moment(monotonic()))

    def go_home(self) -> None:
        """Leave, and let nobody take the place."""
        self.leave()
        self._flags |= HOME

    def leave(self) -> bool:
        """Leave for good, of its own will; the place may be taken by another. Return False if it has left before."""
        if self._flags & GAVE_UP:
            self._leave_given_up()
            return True
        if self._flags & GONE:
            return False
        tally = self.crew.tally
        self._heal()
        tally.clients -= 1
        tally.left += 1
        if self.live is not None:
            tally.open -= 1
        elif self._opening is None:
            tally.waiting -= 1
        if self._opening is not None:
            tally.connecting -= 1
        if self._flags & DEAF:
            tally.deaf -= 1
        else:
            self.cell.leaves(self.held, self.crew.moment(monotonic()))
        self.close()
        self._due = math.inf
        self._flags |= GONE
        return True

    def _leave_given_up(self) -> None:
        tally = self.crew.tally
        tally.clients -= 1
        tally.left += 1
        tally.gave_up -= 1
        self._flags &= ~GAVE_UP
        self.close()
