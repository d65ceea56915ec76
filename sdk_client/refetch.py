"""When to fetch the flags, as a state machine without I/O: one flight at a time, and never deaf.

It remembers the newest version announced and the version held, and as long as the second is behind the first there
is a moment (`due`) at which the next fetch begins. A server that keeps answering an older document and says nothing is
wrong is asked three more times within seconds, for each version, and then once in `PATIENCE`.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final, Protocol

from sdk_client.reconnect import Backoff

__all__ = ["Answer", "Refetch"]

SETTLE: Final = 0.05
"""Seconds after a stream went live during which its events are a replay: the last one is worth one fetch."""

GAP: Final = 0.2
"""Seconds between the beginnings of two fetches, at least, however often a server announces something new."""

OLDER: Final = (1.0, 2.0, 4.0)
"""Seconds at most, and half of it at least, until a document older than announced is fetched again.

Servers and caches may be a second or more behind the stream; without a least wait three tries would be over before.
"""

PATIENCE: Final = 60.0
"""Seconds, more or less, between further tries for a version that the server announced and does not serve."""

SHORT: Final = 1.0
"""Seconds that may be waited after a failure, however short the outage was so far; otherwise not longer than that."""


class Answer(Protocol):
    """What a fetch brought: a document, or the word that the one held is still the same.

    `labelled` tells that the server vouches for `version`; `stale` that it could not reach its own source.
    """

    @property
    def version(self) -> int:
        """Microseconds since the epoch, 0 where unknown."""

    @property
    def labelled(self) -> bool:
        """Tell whether the version is that of this very document."""

    @property
    def stale(self) -> bool:
        """Tell whether it may be old."""


class Refetch:
    """Plans the fetches of one environment's flags; `spread` is in seconds, times are of the caller's clock."""

    def __init__(
        self, *, random: Random, spread: float = 0.0, backoff: Backoff | None = None, now: float = 0.0
    ) -> None:
        self._random = random
        self._spread = spread
        self._backoff = backoff or Backoff(base=0.5, least=0.0)
        self._settled = now
        self._asked: int | None = None
        self._older = 0
        self._failing_since = now
        self._forbidden = -math.inf
        self.loaded = False
        self.wanted = 0
        self.held = 0
        self.failures = 0
        self.due: float | None = now

    def begin_with(self, version: int, *, loaded: bool) -> None:
        """Take, before anything is fetched, that there are flags of this version; `loaded` from the server itself."""
        self.held = version
        self.loaded = loaded

    @property
    def is_met(self) -> bool:
        """Tell whether the flags held are as new as the newest announcement."""
        return self.loaded and self.held >= self.wanted

    def connected(self, now: float) -> None:
        """Take that a stream went live: the server is there, so a fetch that waits out a failure may come sooner.

        Not sooner than the server has asked for, though.
        """
        self._settled = max(self._settled, now + SETTLE)
        if self.due is not None and self.failures:
            self.due = min(self.due, max(self._soon(now), self._forbidden))

    def poll(self, now: float) -> None:
        """Ask for a fetch although nothing was announced, unless there is one already or a failure is waited out."""
        if self.due is None and self._asked is None:
            self.due = now

    def announce(self, version: int, now: float) -> None:
        """Take the version of an event; old ones and repetitions change nothing."""
        if version <= max(self.wanted, self.held):
            return
        self.wanted = version
        self._older = 0
        if self._asked is None and not self.failures:
            soon = self._soon(now)
            self.due = soon if self.due is None else min(self.due, soon)

    def begin(self, now: float) -> int:
        """Begin the one flight; return the version to ask for, 0 where none is known."""
        self.due = None
        self._settled = max(self._settled, now + GAP)
        self._asked = self.wanted
        return self._asked

    def finished(self, answer: Answer, now: float) -> bool:
        """Take what the flight brought; return whether to keep it, False where it is older than the one held."""
        asked = self._asked or 0
        self._asked = None
        # A server that does not label its documents is believed: asked for a version, it gave it.
        version = answer.version if answer.labelled else max(answer.version or self.held, asked)
        take = version >= self.held
        self.loaded = True
        self.held = max(self.held, version)
        if self.is_met:
            self.failures = 0
            self._older = 0
        elif answer.stale:
            self._fail(now, 0.0)  # it says itself that it will recover, so it is asked until it has
        elif self.wanted > asked:
            self.failures = 0
            self.due = self._soon(now)
        else:
            self.failures = 0
            self.due = now + self._patience()
        return take

    def failed(self, now: float, retry_after: float = 0.0) -> None:
        """Take that the flight brought nothing; it is tried again for ever, ever more slowly up to the cap."""
        self._asked = None
        self._fail(now, retry_after)

    def _patience(self) -> float:
        """Return the seconds until the document that was older than announced is fetched again."""
        if self._older == len(OLDER):
            return PATIENCE * self._random.uniform(0.9, 1.1)
        longest = OLDER[self._older]
        self._older += 1
        return self._random.uniform(longest / 2, longest)

    def _fail(self, now: float, retry_after: float) -> None:
        if not self.failures:
            self._failing_since = now
        self.failures += 1
        self._forbidden = now + retry_after
        lasted = max(SHORT, now - self._failing_since)
        self.due = now + self._backoff.delay(self.failures, self._random, floor=retry_after, most=lasted)

    def _soon(self, now: float) -> float:
        return max(now, self._settled) + self._random.uniform(0.0, self._spread)
