"""How a process stops: a stated number of seconds in which its streams reach their own ends.

While draining, readiness fails, new streams are still served (with a lifetime within what remains), and the server
stops when no stream is left or the time is up, but not before load balancers can have noticed. A second signal ends the
time at once.
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

    @property
    def draining(self) -> bool:
        """Whether a stop has begun."""
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
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._seconds
            self._noticed_at = time.monotonic() + min(self._seconds / 2, NOTICE)
            self._metrics.draining.set(1)
        else:
            self._ends_at = time.monotonic()
