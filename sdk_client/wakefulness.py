"""Noticing that the machine slept: the stream there was may be dead, and nothing would tell for a long time.

Three signs, each by the difference from one look to the next, so that none is told twice:

- A clock that goes on in sleep went further than the monotonic one, which stands still there: on Linux
  CLOCK_BOOTTIME (clock_getres(2)), on macOS CLOCK_MONOTONIC_RAW beside Python's monotonic clock (mach_absolute_time).
  Nobody can set these, so they are believed always.
- Elsewhere that clock is the wall clock, which people and NTP set. A step back means nothing. A step ahead cannot
  be told from sleep and is taken for it, but only once in `STEP_PATIENCE`: a clock that somebody keeps setting, or
  that runs at another speed, is no source of alarms without end.
- The look itself came far too late: the process was stopped, the event loop was blocked, or the machine slept on a
  system whose monotonic clock goes on (Windows).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Final

from sdk_client.pulse import PerLoop, Pulse, Subscribers, Unsubscribe, call_each, pulse

__all__ = ["STEP_PATIENCE", "THRESHOLD", "SleepWatch", "Wakefulness", "watch"]

THRESHOLD: Final = 5.0
"""Seconds of sleep that matter."""

STEP_PATIENCE: Final = 60.0
"""Seconds for which a clock that can be set is not believed after it has told of sleep."""


class Wakefulness:
    """Tells from the times of two clocks whether there was sleep since the last look; times are in seconds.

    `interval` is how far apart the looks are meant to be; `settable` says that somebody may set the other clock.
    """

    def __init__(self, interval: float, *, threshold: float = THRESHOLD, settable: bool) -> None:
        self._interval = interval
        self._threshold = threshold
        self._settable = settable
        self._last: tuple[float, float] | None = None
        self._believed_from = -math.inf

    def look(self, monotonic: float, other: float) -> bool:
        """Take the time of both clocks; tell whether more than `threshold` seconds were slept since the last look."""
        before, self._last = self._last, (monotonic, other)
        if before is None:
            return False
        passed = monotonic - before[0]
        ahead = other - before[1] - passed
        if ahead > self._threshold and monotonic >= self._believed_from:
            if self._settable:
                self._believed_from = monotonic + STEP_PATIENCE
            return True
        return passed > self._interval + self._threshold


class SleepWatch:
    """Calls its subscribers on their event loop after the machine slept; one look for all of them."""

    def __init__(self, beats: Pulse, threshold: float = THRESHOLD) -> None:
        self._pulse = beats
        self._threshold = threshold
        self._subscribers: Subscribers[Callable[[], object]] = Subscribers()
        self._stop: Unsubscribe | None = None

    def subscribe(self, callback: Callable[[], object]) -> Unsubscribe:
        """Call `callback` after each sleep until the returned function is called; what it raises is logged."""
        remove = self._subscribers.add(callback)
        if self._stop is None:
            self._stop = self._begin()

        def unsubscribe() -> None:
            if remove() and not self._subscribers and self._stop is not None:
                self._stop()
                self._stop = None

        return unsubscribe

    def _begin(self) -> Unsubscribe:
        wakefulness = Wakefulness(self._pulse.interval, threshold=self._threshold, settable=_SETTABLE)
        wakefulness.look(time.monotonic(), _other_clock())

        def look() -> None:
            if wakefulness.look(time.monotonic(), _other_clock()):
                call_each(self._subscribers)

        return self._pulse.subscribe(look)


def _other_clock() -> float:
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    elif sys.platform == "darwin":  # noqa: RET505 - so mypy reads one branch for each system
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    else:
        return time.time()


_SETTABLE: Final = sys.platform not in ("linux", "darwin")


watch: Final = PerLoop(lambda loop: SleepWatch(pulse(loop)))
"""Returns the `SleepWatch` of an event loop."""
