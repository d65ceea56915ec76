"""Polling, for as long as no stream can be had: when, without I/O."""

from __future__ import annotations

import math
from random import Random
from typing import Final

__all__ = ["Polling"]

FAILURES: Final = 3
"""Streams that failed in a row before polling begins."""

HASTE: Final = 10.0
"""Seconds: a network that comes and goes brings polls forward no more often."""


class Polling:
    """Plans polls `interval` seconds apart, infinite for none; `due` is infinite while there is no need.

    The first poll comes at a random moment within one interval: a fleet that loses its streams together would otherwise
    ask together too, of servers that are in trouble already. A stream that goes live and dies again does not move the
    next poll, neither nearer nor further.
    """

    def __init__(self, random: Random, *, interval: float) -> None:
        self._random = random
        self._interval = interval
        self._next = -math.inf
        self._hastened = -math.inf
        self.on = False

    @property
    def due(self) -> float:
        """When to poll next."""
        return self._next if self.on else math.inf

    def failed(self, failures: int, now: float) -> None:
        """Take that there is no stream and that `failures` tries in a row brought none."""
        if failures >= FAILURES and self._interval < math.inf and not self.on:
            self.on = True
            if self._next <= now:
                self._next = now + self._random.uniform(0.0, self._interval)

    def start(self, now: float) -> None:
        """Begin with a poll in an interval, for there are to be no streams."""
        self.on = True
        self.polled(now)

    def stop(self) -> None:
        """End: a stream is live."""
        self.on = False

    def polled(self, now: float) -> None:
        """Plan the next poll."""
        self._next = now + self._interval * self._random.uniform(0.9, 1.1)

    def hasten(self, now: float) -> None:
        """Bring the next poll forward, for the machine slept or its network changed; once in `HASTE`."""
        if self.on and now >= self._hastened + HASTE:
            self._hastened = now
            self._next = min(self._next, now + self._random.uniform(0.0, 1.0))
