"""Reports of evaluations: summed per environment key, passed on now and then, dropped before they can do harm."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import msgspec

from flagstream.logs import get_logger
from stream_server.documents.upstream import RefusedError, UnavailableError

__all__ = ["LARGEST_COUNT", "Analytics"]

log = get_logger(__name__)

INTERVAL: Final = 1.0
"""Seconds between two rounds of passing on."""

MOST_PAIRS: Final = 20_000
"""Pairs of key and feature that wait at most; what comes beyond is dropped and counted."""

LARGEST_COUNT: Final = 2**31 - 1
"""Evaluations of one feature in one report, to us and from us: the publisher refuses a whole report for more."""

LONGEST_NAME: Final = 2000
LAST_ROUND: Final = 2.0
"""Seconds that a stopping process gives what still waits."""


class Target(Protocol):
    """Takes reports."""

    async def report(self, path: str, environment_key: str, body: bytes) -> None:
        """Take one; raises `UnavailableError` or `RefusedError`."""


class Dropped(Protocol):
    """Counts evaluations that were dropped."""

    def inc(self, amount: float = 1) -> None:
        """Count."""


class Analytics:
    """A bounded sum of reports on their way to `target`."""

    def __init__(self, target: Target, dropped: Dropped) -> None:
        self._target = target
        self._dropped = dropped
        self._sums: dict[str, dict[str, int]] = {}
        self._pairs = 0

    def collect(self, environment_key: str, counts: dict[str, int]) -> None:
        """Add `counts` (feature name to number of evaluations) to what waits."""
        for name, count in counts.items():
            sums = self._sums.get(environment_key, {})
            if name not in sums:
                if self._pairs >= MOST_PAIRS or len(name) > LONGEST_NAME:
                    self._dropped.inc(count)
                    continue
                self._pairs += 1
            total = sums.get(name, 0) + count
            if total > LARGEST_COUNT:
                self._dropped.inc(total - LARGEST_COUNT)
            self._sums.setdefault(environment_key, sums)[name] = min(total, LARGEST_COUNT)

    async def run(self) -> None:
        """Pass on, for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self._round()

    async def stop(self) -> None:
        """Pass on what waits, as far as it goes quickly; the rest is dropped and counted."""
        try:
            async with asyncio.timeout(LAST_ROUND):
                await self._round()
        except TimeoutError:
            pass
        for counts in self._sums.values():
            self._dropped.inc(sum(counts.values()))
        self._sums = {}

    async def _round(self) -> None:
        for environment_key in list(self._sums):
            counts = self._sums.pop(environment_key)
            self._pairs -= len(counts)
            try:
                await self._target.report("analytics/flags", environment_key, msgspec.json.encode(counts))
            except UnavailableError:
                # It may have been counted there before the answer was lost, so it is not sent twice. The others wait.
                self._dropped.inc(sum(counts.values()))
                return
            except RefusedError:
                self._dropped.inc(sum(counts.values()))
            except asyncio.CancelledError:
                self._dropped.inc(sum(counts.values()))
                raise
