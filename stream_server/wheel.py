"""One timing wheel for all heartbeats and lifetimes, instead of a timer a stream.

Time is cut into ticks; a member waits in the set of its tick. A member is called at or after its time, never before
it, and at most two ticks late while the loop keeps up.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from flagstream.logs import get_logger

__all__ = ["Member", "Wheel"]

log = get_logger(__name__)

SLICE: Final = 256
"""Members called before everything else gets a turn of the loop."""


class Member(Protocol):
    """What waits in the wheel; `tick` belongs to the wheel."""

    tick: int

    def due(self, now: float) -> float | None:
        """Do what is due at `now` (monotonic seconds) and return the next time, None for never."""


class Wheel:
    """Calls members when they are due; `seconds` is the length of a tick."""

    def __init__(self, seconds: float = 0.05) -> None:
        self._seconds = seconds
        self._ticks: dict[int, set[Member]] = {}
        self._turned = self._tick(time.monotonic())

    def _tick(self, moment: float) -> int:
        return int(moment / self._seconds)

    def add(self, member: Member, at: float) -> None:
        """Call `member` at `at` (monotonic seconds) or a little later."""
        member.tick = max(self._tick(at), self._turned) + 1
        self._ticks.setdefault(member.tick, set()).add(member)

    def discard(self, member: Member) -> None:
        """Forget `member`, if it is here."""
        waiting = self._ticks.get(member.tick)
        if waiting is None:
            return
        waiting.discard(member)
        if not waiting:  # a set keeps the room that it once needed, here until its tick has come
            del self._ticks[member.tick]

    async def run(self) -> None:
        """Turn for ever; slow turns are made up for."""
        while True:
            await asyncio.sleep(self._seconds)
            reached = self._tick(time.monotonic())
            while self._turned < reached:
                self._turned += 1
                await self._call(self._turned)

    async def _call(self, tick: int) -> None:
        waiting = self._ticks.get(tick)
        called = 0
        while waiting:  # a member may leave or join during a turn of the loop
            member = waiting.pop()
            try:
                again = member.due(time.monotonic())
            except Exception:
                # A fault in one stream must not stop the time of all others.
                log.exception("a member of the timing wheel failed")
                again = None
            if again is not None:
                self.add(member, again)
            called += 1
            if called % SLICE == 0:
                await asyncio.sleep(0)
        self._ticks.pop(tick, None)
