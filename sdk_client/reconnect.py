"""When to open the next stream: the rules that keep a client from being deaf and from being a storm."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

__all__ = ["Backoff", "End", "Reconnect"]

CLEAN_WAIT: Final = 2.0
"""Seconds: after a clean end the next stream is opened within a random part of this."""

LIVED: Final = 1.0
"""Seconds after which a stream counts as one that worked; a shorter one is an error, which breaks any loop."""

MAX_RETRY: Final = 60.0
"""Seconds that a server may ask for by `retry:`; one wrong value must not silence a client for a day."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter, in seconds: `base` and `cap` bound the random part, `least` is added.

    With the default no server can talk a client into more than one stream a second, not even by ``retry: 0``.
    """

    base: float = 1.0
    cap: float = 30.0
    least: float = 1.0

    def delay(self, failures: int, random: Random, *, floor: float = 0.0) -> float:
        """Return the seconds to wait after `failures` (1 or more) in a row: `floor` or `least`, plus the random part.

        Added, not the largest of them: below the floor every client of a failed server would come back at once.
        """
        return max(floor, self.least) + random.uniform(0.0, min(self.cap, self.base * 2.0 ** min(failures - 1, 30)))


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ended: `lived` seconds after its headers came (0 where none did), cleanly or not."""

    reason: str
    clean: bool = False
    lived: float = 0.0
    retry_after: float = 0.0

    @property
    def is_error(self) -> bool:
        """Anything but a clean end of a stream that had lived."""
        return not self.clean or self.lived < LIVED


class Reconnect:
    """Counts failures and says how long to wait; `retry` is the server's own wish in seconds."""

    def __init__(self, random: Random, *, backoff: Backoff | None = None) -> None:
        self._random = random
        self._backoff = backoff or Backoff()
        self.retry = 0.0
        self.failures = 0

    def advise(self, seconds: float) -> None:
        """Take the server's `retry:`; it holds until another one comes, over all streams."""
        self.retry = min(seconds, MAX_RETRY)

    def after(self, end: End) -> float:
        """Return the seconds until the next stream may be opened."""
        if end.lived >= LIVED:
            self.failures = 0
        if not end.is_error:
            return self._random.uniform(0.0, CLEAN_WAIT)
        self.failures += 1
        return self._backoff.delay(self.failures, self._random, floor=max(self.retry, end.retry_after))
