"""What came of one entry of the timeline, told from the points after it."""

from __future__ import annotations

import math

from loadtest.grid import GroupPoint
from loadtest.histogram import Histogram
from loadtest.results import Fault, Readmission, seconds

__all__ = ["Aftermath"]


class Aftermath:
    """Follows the streams from an entry `at` seconds of the run on, until the next one that hurts at second `until`."""

    def __init__(self, number: int, at: float, what: str) -> None:
        self.number = number
        self.at = at
        self.error = ""
        self.until = math.inf
        self.hurts = True
        """Whether what is lost from then on is lost to it by name; else it has what is lost until then, to whatever."""
        self._what = what
        self._begun = False
        self._open = self._least = self._lost = self._gave_up = 0
        self._back: float | None = None

    def follow(self, at: float, before: GroupPoint, now: GroupPoint) -> None:
        """Take the whole swarm as counted until second `at`, and as at the point before."""
        if at <= self.at:
            return
        if not self._begun:
            self._begun = True
            self._open = self._least = before.levels["open"]
        if self.hurts:  # what was lost to it may be told, and be back, after the next one
            self._account(at, now.broken.get(self.number, 0), now.hurt.get(self.number, 0))
        if at <= self.until:
            if not self.hurts:
                self._account(at, sum(now.broken.values()), sum(now.hurt.values()))
            self._least = min(self._least, now.levels["open"])
            self._gave_up += now.counts["given_up"]

    def _account(self, at: float, broken: int, hurt: int) -> None:
        """Take how many were broken since the point before, and how many of those who were hurt have no stream yet.

        How many are open tells neither: some are always between a clean end and the next, and others come meanwhile.
        """
        self._lost += broken
        if broken:
            self._back = None
        if self._back is None and not hurt:
            self._back = at

    def results(self, readmission: Histogram) -> Fault:
        """Return it as results have it; `readmission` has the times of all streams that were lost to it."""
        if not self._lost:
            back: float | None = 0.0
        else:
            back = None if self._back is None else round(self._back - self.at, 3)
        return Fault(
            number=self.number,
            at_s=round(self.at, 3),
            what=self._what,
            open_before=self._open,
            open_least=self._least,
            lost=self._lost,
            gave_up=self._gave_up,
            readmission=Readmission(**seconds(readmission)),
            all_back_s=back,
            error=self.error,
        )
