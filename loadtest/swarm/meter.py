"""Which part of a generator's CPU goes into opening streams and into fetching flags; what is left is for the rest."""

from __future__ import annotations

from time import thread_time
from typing import Final

__all__ = ["Meter"]

ONE_IN: Final = 17
"""Reading the CPU's clock costs, so of so many pieces of work one is timed; a prime, for they come in turns."""


class Meter:
    """Seconds of CPU, by kind of work; what happens within a piece of work, of whatever kind, is that piece's."""

    __slots__ = ("_depth", "_fetching", "_opening", "_turn")

    def __init__(self) -> None:
        self._opening = self._fetching = 0.0
        self._depth = 0
        self._turn = 0

    @property
    def opening(self) -> float:
        """About how many seconds went into opening streams so far."""
        return self._opening * ONE_IN

    @property
    def fetching(self) -> float:
        """About how many seconds went into fetching flags so far."""
        return self._fetching * ONE_IN

    def begin(self) -> float:
        """Begin a piece of work; return what its end is to be told."""
        self._depth += 1
        if self._depth > 1:
            return 0.0
        self._turn += 1
        return 0.0 if self._turn % ONE_IN else thread_time()

    def end_opening(self, begun: float) -> None:
        """End a piece of work for a stream that is being opened."""
        self._depth -= 1
        if begun:
            self._opening += thread_time() - begun

    def end_fetching(self, begun: float) -> None:
        """End a piece of work for a fetch."""
        self._depth -= 1
        if begun:
            self._fetching += thread_time() - begun
