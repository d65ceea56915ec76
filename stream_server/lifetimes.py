"""How long a stream lives, how long a CDN may add clients to it, and how long a browser waits afterwards.

A stream that has ended while a CDN still takes it for fresh is replayed as a finished body, and every client that
connects is ended at once. So the join window lies below what the stream has left at every tier, also for the short
streams of a drain. Lifetimes are exact behind a CDN, where one stream serves thousands, and random without one, so
that those thousands do not come back in step.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from stream_server.drain import Drain
from stream_server.settings import SHORTEST_STREAM, StreamServerSettings

__all__ = ["Life", "Lifetimes"]

JITTER: Final = 0.2
"""Share of the lifetime that is random without a CDN; it only shortens."""

MARGIN: Final = 0.25
"""Seconds that a stream opened during a drain ends before the drain does: streams end late, never early."""

SHORTEST_LAST: Final = 0.05


@dataclass(frozen=True, slots=True)
class Life:
    """What one stream is given: `seconds` until its clean end, `join_window` in whole seconds, `retry` in ms."""

    seconds: float
    join_window: int
    retry: int


class Lifetimes:
    """Gives every stream its life."""

    def __init__(self, settings: StreamServerSettings, drain: Drain) -> None:
        self._lifetime = settings.lifetime
        self._join_window = settings.join_window
        self._tiers = settings.edge_tiers
        self._retry = settings.retry
        self._edge = settings.edge
        self._drain = drain
        self._constant = self._life(settings.lifetime)

    def new(self) -> Life:
        """Return the life of a stream that opens now."""
        remaining = self._drain.remaining()
        if remaining is not None:
            return self._life(self._within(remaining - MARGIN))
        if self._edge:
            return self._constant
        return self._life(max(self._lifetime * (1 - JITTER * random.random()), SHORTEST_STREAM))  # noqa: S311 - jitter

    def _within(self, remaining: float) -> float:
        """Return a lifetime for a stream of a stopping process: random, at least 2 s unless less remains."""
        longest = min(remaining, self._lifetime)
        if longest <= SHORTEST_STREAM:
            return max(longest, SHORTEST_LAST)
        return random.uniform(SHORTEST_STREAM, longest)  # noqa: S311 - jitter

    def _life(self, seconds: float) -> Life:
        """Return a life of `seconds`, cut to hundredths because the header that announces it is."""
        seconds = int(seconds * 100) / 100
        # `Age` is whole seconds and each tier rounds: the last second and one a tier are not for joining.
        window = min(self._join_window, seconds - (1 + self._tiers))
        factor = 1.0 if self._edge else random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        return Life(seconds=seconds, join_window=max(int(window), 0), retry=round(self._retry * 1000 * factor))
