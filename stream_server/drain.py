"""How a process stops: a stated number of seconds in which its streams reach their own ends.

A process that is stopped fails readiness, still serves new streams (with a lifetime within what remains), and ends when
no stream is left or the time is up, but not before load balancers can have noticed. A second signal ends the time at
once. One that is replaced stays ready, for its place is: its successor accepts on the same socket, and nobody has to
notice anything.
"""

from __future__ import annotations

import time
from typing import Final

from stream_server.metrics import Metrics

__all__ = ["Drain"]


NOTICE: Final = 5.0
"""Seconds that whoever asks for readiness is given to notice that it fails, in a long drain."""


class Drain:
    """Whether this process is stopping, and how long it still has; `seconds` is the setting `drain`."""

    def __init__(self, seconds: float, metrics: Metrics) -> None:
        self._seconds = seconds
        self._metrics = metrics
        self._ends_at: float | None = None
        self._noticed_at = 0.0
        self.replaced = False
        """Whether a successor accepts in this process's place."""
        self.stopping = False
        """Whether this process was told to stop, and its place with it."""

    @property
    def draining(self) -> bool:
        """Whether an end has begun, of either kind."""
        return self._ends_at is not None

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    @property
    def noticed(self) -> bool:
        """Whether load balancers had time to notice the stop: `NOTICE`, at most half of the drain."""
        return self.over or (self.draining and time.monotonic() >= self._noticed_at)

    def remaining(self) -> float | None:
        """Return the seconds that are left, never below 0; None while nothing stops."""
        return None if self._ends_at is None else max(self._ends_at - time.monotonic(), 0.0)

    def begin(self) -> None:
        """Start to stop; a second call ends the time at once."""
        if self.stopping:
            self._ends_at = time.monotonic()
            return
        self.stopping = True
        if self._ends_at is None:  # else a successor is in place, and the time runs already
            self._ends_at = time.monotonic() + self._seconds
            self._noticed_at = time.monotonic() + min(self._seconds / 2, NOTICE)
        self._metrics.draining.set(1)

    def replace(self) -> None:
        """Start to leave to a successor; nothing where a stop has begun already."""
        if self._ends_at is None:
            self.replaced = True
            self._ends_at = time.monotonic() + self._seconds
