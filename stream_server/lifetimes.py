"""How long a stream lives, how long a CDN may add clients to it, and how long a browser waits afterwards.

A stream that has ended while a CDN still takes it for fresh is replayed as a finished body, and every client that
connects is ended at once. So the join window lies below what the stream has left at every tier, also for the short
streams of a drain and of overload. Lifetimes are exact behind a CDN, where one stream serves thousands, and random
without one, so that those thousands do not come back in step.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from stream_server import cors
from stream_server.drain import Drain
from stream_server.settings import LONGEST_WAIT, StreamServerSettings

__all__ = ["Headers", "Life", "Lifetimes"]

Headers = list[tuple[bytes, bytes]]

JITTER: Final = 0.2
"""Share of the lifetime that is random without a CDN; it only shortens."""

MARGIN: Final = 0.25
"""Seconds that a stream opened during a drain ends before the drain does: streams end late, never early."""

SHORTEST_LAST: Final = 0.05

OVERLOAD: Final = (LONGEST_WAIT / 2, LONGEST_WAIT)
"""Seconds between which a stream lives that only keeps its client from coming back at once."""

PREPARED: Final = 256
"""Lives made at the start; with 30 s and a jitter of 6 s they are 23 ms apart, less than a tick of the wheel."""


@dataclass(frozen=True, slots=True)
class Life:
    """What one stream is given: `seconds` until its clean end, `join_window` in whole seconds, `retry` in ms.

    `headers` are those of its answer; streams share the list, so nobody may change it.
    """

    seconds: float
    join_window: int
    retry: int
    headers: Headers = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Encode the headers, once for all streams of this life."""
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"public, max-age=0, s-maxage=%d" % self.join_window),
            (b"surrogate-control", b"max-age=%d" % self.join_window),
            (b"x-stream-lifetime", f"{self.seconds:.2f}".rstrip("0").rstrip(".").encode()),
            (b"x-stream-join-window", b"%d" % self.join_window),
            *cors.ALLOWED,
        ]
        object.__setattr__(self, "headers", headers)


class Lifetimes:
    """Gives every stream its life."""

    def __init__(self, settings: StreamServerSettings, drain: Drain) -> None:
        self._lifetime = settings.lifetime
        self._join_window = settings.join_window
        self._tiers = settings.edge_tiers
        self._retry = settings.retry
        self._edge = settings.edge
        self._shortest = settings.shortest_stream
        self._drain = drain
        # Made beforehand: in a storm of reconnections each costs a look-up.
        shortest = settings.lifetime if self._edge else settings.lifetime * (1 - JITTER)
        self._lives = self._spread(shortest, settings.lifetime)
        longest = min(OVERLOAD[1], settings.lifetime)
        self._overload = self._spread(longest * OVERLOAD[0] / OVERLOAD[1], longest)

    def new(self) -> Life:
        """Return the life of a stream that opens now."""
        remaining = self._drain.remaining()
        if remaining is not None:
            return self._life(self._within(remaining - MARGIN, self._lifetime))
        return self._lives[int(random.random() * len(self._lives))]  # noqa: S311 - jitter

    def overload(self) -> Life:
        """Return the life of a stream that is opened in place of one that there is no room for: short, and random.

        Its join window is as far below its own end as that of any other: behind a CDN it holds the clients that come
        meanwhile, and none beyond its life.
        """
        remaining = self._drain.remaining()
        if remaining is not None:
            return self._life(self._within(remaining - MARGIN, OVERLOAD[1]))
        return self._overload[int(random.random() * len(self._overload))]  # noqa: S311 - jitter

    def of(self, seconds: float) -> Life:
        """Return a life of `seconds`."""
        return self._life(seconds)

    def _spread(self, least: float, most: float) -> list[Life]:
        """Return lives of `least` to `most` seconds, evenly apart, one where they are the same."""
        least = max(least, self._shortest)
        number = PREPARED if least < most else 1
        return [self._life(least + (most - least) * position / number) for position in range(number)]

    def _within(self, remaining: float, most: float) -> float:
        """Return a lifetime for a stream of a stopping process: random, not too short unless less remains."""
        longest = min(remaining, self._lifetime, most)
        if longest <= self._shortest:
            return max(longest, SHORTEST_LAST)
        return random.uniform(self._shortest, longest)  # noqa: S311 - jitter

    def _life(self, seconds: float) -> Life:
        """Return a life of `seconds`, cut to hundredths because the header that announces it is."""
        seconds = int(seconds * 100) / 100
        # `Age` is whole seconds and each tier rounds: the last second and one a tier are not for joining.
        window = min(self._join_window, seconds - (1 + self._tiers))
        factor = 1.0 if self._edge else random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        return Life(seconds=seconds, join_window=max(int(window), 0), retry=round(self._retry * 1000 * factor))
