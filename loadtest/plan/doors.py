"""Queues in front of processes that open so many streams a second: what makes a storm last as long as it does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Doors"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LIFT = 1e6
"""Seconds that lie between the times of two queues while one running maximum is taken of all of them."""


class Doors:
    """`count` processes, each of which opens one stream after the other, `service` seconds each.

    A process that is `shut` until some moment begins with its queue then: its socket is there, nobody accepts. In each
    queue stand `backlog` at most.
    """

    def __init__(self, count: int, service: float, backlog: int) -> None:
        self.count = count
        self.service = service
        self.backlog = backlog
        self._free: Floats = np.zeros(count, dtype=np.float64)
        self._shut: Floats = np.zeros(count, dtype=np.float64)

    def shut(self, doors: Ints, until: Floats | float) -> None:
        """Let nobody through `doors` before `until`, one moment for each or for all."""
        self._free[doors] = until
        self._shut[doors] = until

    def occupy(self, at: float, seconds: float) -> None:
        """Have each process that is not shut do something else for `seconds`, once it is through with its queue."""
        self._free = np.where(self.are_up(at), np.maximum(self._free, at) + seconds, self._free)

    def put_behind(self, seconds: Floats) -> None:
        """Have each process do something else for so many seconds, behind all that it has let in."""
        self._free += seconds

    def are_up(self, at: float) -> NDArray[np.bool_]:
        """Tell which are not shut at `at`."""
        found: NDArray[np.bool_] = self._shut <= at
        return found

    def admit(self, door: Ints, at: Floats) -> Floats:
        """Return when those who come to `door` at ascending `at` are answered; infinite: the queue was full."""
        order = np.argsort(door, kind="stable")
        doors, times = door[order], at[order]
        answered = self._serve(doors, times)
        kept = answered - np.maximum(times, self._shut[doors]) <= (self.backlog + 1) * self.service
        if not kept.all():
            answered = np.full(len(at), np.inf)
            answered[kept] = self._serve(doors[kept], times[kept])
        np.maximum.at(self._free, doors[kept], answered[kept])
        result = np.empty(len(at), dtype=np.float64)
        result[order] = answered
        return result

    def _serve(self, door: Ints, at: Floats) -> Floats:
        """Return the ends of first come, first served; `door` is sorted, `at` ascends within each."""
        rank = np.arange(len(door)) - np.searchsorted(door, door, side="left")
        start = np.maximum(at, self._free[door]) - rank * self.service
        lift = door * LIFT
        served: Floats = np.maximum.accumulate(start + lift) - lift + (rank + 1) * self.service
        return served
