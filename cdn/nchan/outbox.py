"""What one nginx has not been told yet: the newest version of each environment, one post of a key at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

__all__ = ["Outbox"]


class Outbox:
    """Keys that wait, that are being posted, and that rest.

    `newest` is the table of all versions, which its owner raises before it calls `want`. A key that was posted rests
    for `min_interval` seconds; what came meanwhile is posted then, the newest only.
    """

    def __init__(self, newest: Mapping[str, int], min_interval: float) -> None:
        self._newest = newest
        self._min_interval = min_interval
        self._told: dict[str, int] = {}
        self._waiting: dict[str, None] = {}
        self._posted: set[str] = set()
        self._vain: set[str] = set()  # of those, the ones whose confirmation will not count
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._some = asyncio.Event()

    @property
    def unsent(self) -> int:
        """Environments whose newest version this nginx has not confirmed."""
        resting = sum(1 for key in self._resting if self._lacks(key))
        return len(self._waiting) + len(self._posted) + resting

    def want(self, key: str) -> None:
        """Have the newest version of `key` posted, as soon as it may be, unless it was confirmed."""
        if self._lacks(key) and key not in self._posted and key not in self._resting:
            self._waiting[key] = None
            self._some.set()

    def want_everything(self) -> None:
        """Take for granted that this nginx knows nothing."""
        self._told.clear()
        self._vain |= self._posted  # nginx may have forgotten them by the time that it confirms
        for handle in self._resting.values():
            handle.cancel()
        self._resting.clear()
        for key in self._newest:
            self.want(key)

    async def take(self) -> tuple[str, int]:
        """Wait for a key that may be posted and return it with its newest version; `told` or `doubt` must follow."""
        while not self._waiting:
            self._some.clear()
            await self._some.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._posted.add(key)
        return key, self._newest[key]

    def told(self, key: str, version: int) -> None:
        """Note that nginx has confirmed it."""
        self._posted.discard(key)
        if key in self._vain:
            self.doubt(key)
            return
        self._told[key] = version
        self._rest(key, self._min_interval)

    def doubt(self, key: str, pause: float = 0.0) -> None:
        """Note that it may have arrived or not, or was refused: it is posted again, after `pause` seconds."""
        self._posted.discard(key)
        self._vain.discard(key)
        self._told.pop(key, None)
        self._rest(key, pause)

    def again(self, key: str) -> None:
        """Have the newest version of `key` posted although it was confirmed."""
        self._told.pop(key, None)
        if key in self._posted:
            self._vain.add(key)
        self.want(key)

    def close(self) -> None:
        """Forget what rests."""
        for handle in self._resting.values():
            handle.cancel()
        self._resting.clear()

    def _lacks(self, key: str) -> bool:
        return self._newest[key] > self._told.get(key, 0)

    def _rest(self, key: str, seconds: float) -> None:
        if seconds > 0:
            self._resting[key] = asyncio.get_running_loop().call_later(seconds, self._rested, key)
        else:
            self.want(key)

    def _rested(self, key: str) -> None:
        del self._resting[key]
        self.want(key)
