"""What a generator's CPU goes into: opening streams, fetching flags, taking events; the rest is for being there."""

from __future__ import annotations

from time import thread_time
from typing import Final

__all__ = ["Meter"]

ONE_IN: Final = 17
"""Reading the CPU's clock costs, so of so many turns of the loop one is measured; a prime, for work comes in turns."""


class Meter:
    """Seconds of CPU, by kind of work; what happens within opening or fetching, of whatever kind, is part of it."""

    __slots__ = ("_began", "_depth", "_events", "_fetching", "_known", "_measures", "_opening", "_turn")

    def __init__(self) -> None:
        self._opening = self._fetching = self._events = 0.0
        self._depth = 0
        self._turn = 0
        self._measures = False
        self._began = self._known = 0.0

    @property
    def opening(self) -> float:
        """About how many seconds went into opening streams so far."""
        return self._opening * ONE_IN

    @property
    def fetching(self) -> float:
        """About how many seconds went into fetching flags so far."""
        return self._fetching * ONE_IN

    @property
    def events(self) -> float:
        """About how many seconds went into asking the kernel for what streams said, reading it and reckoning."""
        return self._events * ONE_IN

    def turn(self) -> None:
        """End a turn of the loop, and begin the next."""
        if self._measures:
            self._events += max(0.0, thread_time() - self._began - self._known)
        self._turn += 1
        self._measures = not self._turn % ONE_IN
        if self._measures:
            self._known = 0.0
            self._began = thread_time()

    def begin(self) -> float:
        """Begin a piece of work; return what its end is to be told."""
        self._depth += 1
        return thread_time() if self._measures and self._depth == 1 else 0.0

    def end_opening(self, begun: float) -> None:
        """End a piece of work for a stream that is being opened."""
        self._depth -= 1
        if begun:
            took = thread_time() - begun
            self._opening += took
            self._known += took

    def end_fetching(self, begun: float) -> None:
        """End a piece of work for a fetch."""
        self._depth -= 1
        if begun:
            took = thread_time() - begun
            self._fetching += took
            self._known += took

    def begin_timers(self) -> float:
        """Begin with timers, among whose work is opening and fetching; return what its end is to be told."""
        return thread_time() - self._known if self._measures else 0.0

    def end_timers(self, begun: float) -> None:
        """End it: what was neither opening nor fetching is no event's either."""
        if begun:
            self._known = thread_time() - begun
