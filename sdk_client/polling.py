"""Polling, for as long as no stream can be had: when, without I/O."""

from __future__ import annotations

import math
from random import Random
from typing import Final

__all__ = ["Polling"]

FAILURES: Final = 3
"""Streams that failed in a row before polling begins."""


class Polling:
    """Plans polls `interval` seconds apart, infinite for none; `due` is infinite while there is no need.

    The first poll comes at a random moment within one interval: a fleet that loses its streams together would otherwise
    ask together too, of servers that are in trouble already.
    """

    def __init__(self, random: Random, *, interval: float) -> None:
        self._random = random
        self._interval = interval
        self.due = math.inf

    @property
    def on(self) -> bool:
        """Tell whether there is polling now."""
        return self.due < math.inf

    def failed(self, failures: int, now: float) -> None:
        """Take that there is no stream and that `failures` tries in a row brought none."""
        if failures >= FAILURES:
            self.start(now)

    def start(self, now: float) -> None:
        """Begin, unless it has begun."""
        if not self.on:
            self.due = now + self._random.uniform(0.0, self._interval)

    def stop(self) -> None:
        """End: a stream is live."""
        self.due = math.inf

    def polled(self, now: float) -> None:
        """Plan the next poll."""
        self.due = now + self._interval * self._random.uniform(0.9, 1.1)

    def hasten(self, now: float) -> None:
        """Bring the next poll forward, for the machine slept or its network changed."""
        if self.on:
            self.due = min(self.due, now + self._random.uniform(0.0, 1.0))
