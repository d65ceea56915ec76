"""The loop of a generator: one epoll, one heap of timers, and an eye on whether it keeps up.

asyncio is not used: a stream that says something costs one read here and no callback scheduled, and a stream that says
nothing costs its descriptor. docs/loadtest.md has both measured.
"""

from __future__ import annotations

import heapq
import select
import sys
from collections import deque
from itertools import count
from time import monotonic
from typing import Final, Protocol

from loadtest.swarm.meter import Meter

__all__ = ["Handler", "Loop", "Reader", "Timed"]

AT_ONCE: Final = 512
"""Descriptors that a turn takes from the kernel, and timers that it lets fire: neither may starve the other."""

MOST_ASIDE: Final = 20_000
"""Pieces that may be put aside: some tens of milliseconds of work."""

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT


class Handler(Protocol):
    """Whoever has a descriptor."""

    def handle(self, mask: int) -> None:
        """Take that the descriptor is readable, writable or broken (select.EPOLL…)."""


class Reader(Protocol):
    """Whoever has read something."""

    def take(self, data: bytes, moment: float) -> None:
        """Look at what was read at `moment`."""


class Timed(Protocol):
    """Whoever waits for a moment."""

    def fire(self, kind: int, when: float, now: float) -> None:
        """Take that the moment `when` has come; whether it is still wanted is for the taker to know."""


class Loop:
    """Calls handlers of descriptors and timers until it is stopped.

    Since the last `observed`, `busy` is the share of time not spent waiting, `late` the seconds of the most belated
    timer, and `longest` the seconds of the longest turn, which is how long an event may have lain unread.

    Reading goes before reckoning: what a stream said is put aside with the moment at which it was read (`put_aside`),
    and looked at when nothing more is to be read. So in a burst an event waits for the reads before it and not for all
    that is made of them. Whoever does more than read calls `catch_up` first, for things happen in their order.
    """

    def __init__(self) -> None:
        self.meter = Meter()
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._fresh: set[int] = set()
        """Watched since the kernel was asked: what it told of these numbers is of who had them before."""
        self._aside: deque[tuple[Reader, bytes, float]] = deque()
        self._timers: list[tuple[float, int, Timed, int]] = []
        self._numbers = count()
        self._running = True
        self._waited = 0.0
        self._since = monotonic()
        self._late = 0.0
        self._longest = 0.0

    def watch(self, descriptor: int, handler: Handler, mask: int = READ) -> None:
        """Call `handler` when something is to be done with `descriptor`."""
        self._handlers[descriptor] = handler
        self._fresh.add(descriptor)
        self._epoll.register(descriptor, mask)

    def change(self, descriptor: int, mask: int) -> None:
        """Watch for something else; 0 for nothing but its breaking."""
        self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Watch no more; to be called before the descriptor is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def at(self, when: float, timed: Timed, kind: int = 0) -> None:
        """Call ``timed.fire(kind, when, now)`` when the monotonic clock shows `when`; it cannot be taken back."""
        heapq.heappush(self._timers, (when, next(self._numbers), timed, kind))

    def put_aside(self, reader: Reader, data: bytes) -> None:
        """Keep what has just been read until there is time for it."""
        self._aside.append((reader, data, monotonic()))

    def catch_up(self, most: int = sys.maxsize) -> None:
        """Look at what was put aside, at `most` pieces of it."""
        aside = self._aside
        while aside and most:
            reader, data, moment = aside.popleft()
            reader.take(data, moment)
            most -= 1

    def stop(self) -> None:
        """Let `run` return at the end of this turn."""
        self._running = False

    def observed(self) -> tuple[float, float, float]:
        """Return (busy, late, longest) and begin anew."""
        now = monotonic()
        passed = now - self._since
        seen = (max(0.0, 1 - self._waited / passed) if passed > 0 else 0.0), self._late, self._longest
        self._since, self._waited, self._late, self._longest = now, 0.0, 0.0, 0.0
        return seen

    def run(self) -> None:
        """Turn until stopped."""
        timers, handlers, fresh, poll = self._timers, self._handlers, self._fresh, self._epoll.poll
        aside, turn = self._aside, self.meter.turn
        began = monotonic()
        while self._running:
            turn()
            wait = 0.0 if aside else max(0.0, timers[0][0] - began) if timers else None
            fresh.clear()
            ready = poll(wait, AT_ONCE)
            now = monotonic()
            self._waited += now - began
            began = now
            for descriptor, mask in ready:
                handler = handlers.get(descriptor)
                # one before it in this turn may have closed it, and opened another of the same number
                if handler is not None and descriptor not in fresh:
                    handler.handle(mask)
            if aside and not ready:
                self.catch_up(AT_ONCE)
            elif len(aside) > MOST_ASIDE:
                self.catch_up()
            if timers and timers[0][0] <= now:
                self.catch_up()
                begun = self.meter.begin_timers()
                self._fire(now)
                self.meter.end_timers(begun)
            now = monotonic()
            self._longest = max(self._longest, now - began)
            began = now

    def _fire(self, now: float) -> None:
        timers = self._timers
        self._late = max(self._late, now - timers[0][0])
        for _ in range(AT_ONCE):
            if not timers or timers[0][0] > now:
                return
            when, _, timed, kind = heapq.heappop(timers)
            timed.fire(kind, when, monotonic())  # hundreds before it may have taken a while

    def close(self) -> None:
        """Give the epoll back."""
        self._epoll.close()
