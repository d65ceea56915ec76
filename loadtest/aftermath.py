"""What came of one entry of the timeline, told from the points after it."""

from __future__ import annotations

import math

from loadtest.curves import BROKEN
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
        self._what = what
        self._before: GroupPoint | None = None
        self._open = self._least = self._lost = self._gave_up = self._readmitted = 0
        self._back: float | None = None

    def follow(self, at: float, before: GroupPoint, now: GroupPoint) -> None:
        """Take the whole swarm as counted until second `at`, and as at the point before."""
        if not self.at < at <= self.until:
            return
        if self._before is None:
            self._before = before
            self._open = self._least = before.levels["open"]
        still = now.levels["open"]
        broken = sum(now.lost.get(kind, 0) for kind in BROKEN)
        self._least = min(self._least, still)
        self._lost += broken
        self._gave_up = now.levels["gave_up"] - self._before.levels["gave_up"]
        self._readmitted += sum(count for _, count in now.readmission.get(self.number, Histogram()).pairs())
        # Some streams are always between a clean end and the next one, so those that were lost are counted, too.
        if still >= self._open - self._gave_up or 0 < self._lost - self._gave_up <= self._readmitted:
            if self._back is None or broken:
                self._back = at
        elif broken:
            self._back = None

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
            gave_up=max(0, self._gave_up),
            readmission=Readmission(**seconds(readmission)),
            all_back_s=back,
            error=self.error,
        )
