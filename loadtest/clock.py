"""The clock of a run: fixed once, so that no step of the machine's own clock shows in a figure."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final, Self

__all__ = ["RunClock"]

_SPIN: Final = 0.001
"""Seconds before the moment in which turns of the loop are counted: what loops sleep is whole milliseconds."""


@dataclass(frozen=True, slots=True)
class RunClock:
    """Seconds of the run, from `began`; `epoch` is what this process's monotonic clock showed at the Unix epoch."""

    epoch: float
    began: float

    @classmethod
    def start(cls, after: float = 0.0) -> Self:
        """Return a clock whose run begins `after` seconds from now."""
        # Who is held up between the two clocks has an epoch that is too early by that, and shifts every figure by it.
        epoch = max(time.monotonic() - time.time() for _ in range(5))
        return cls(epoch=epoch, began=time.monotonic() + after)

    def now(self) -> float:
        """Return the second of the run."""
        return time.monotonic() - self.began

    def version(self, at: float) -> int:
        """Return the version that a change at second `at` has: microseconds since the epoch."""
        return round((self.began + at - self.epoch) * 1e6)

    def second(self, version: int) -> float:
        """Return the second of the run that `version` is."""
        return version / 1e6 - (self.began - self.epoch)

    async def until(self, at: float) -> None:
        """Wait for second `at` of the run; returns at once where it has passed."""
        while (left := at - self.now()) > 0:  # noqa: ASYNC110 - a moment is no event
            await asyncio.sleep(left)

    async def sharply_until(self, at: float) -> None:
        """Wait for second `at` to a tenth of a millisecond, for a little CPU."""
        await self.until(at - _SPIN)
        while self.now() < at:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
