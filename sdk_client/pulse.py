"""One timer for each event loop, shared by everything that has to look every few seconds.

A process may hold a thousand clients, and none of them may cost a timer of its own for what is the same for all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final, Generic, TypeVar

__all__ = ["INTERVAL", "PerLoop", "Pulse", "Subscribers", "Unsubscribe", "call_each", "pulse"]

_log = logging.getLogger("sdk_client")

INTERVAL: Final = 5.0
"""Seconds between two looks."""

T = TypeVar("T")
C = TypeVar("C")

Unsubscribe = Callable[[], None]


class Subscribers(Generic[C]):
    """Whoever is to be called, in order of subscription; the same callback may be there twice."""

    __slots__ = ("_members", "_numbers")

    def __init__(self) -> None:
        self._members: dict[int, C] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: C) -> Callable[[], bool]:
        """Add `member`; return what removes it, which tells whether it was there."""
        number = next(self._numbers)
        self._members[number] = member
        return lambda: self._members.pop(number, None) is not None

    def __iter__(self) -> Iterator[C]:
        """Give those who were there at the start and still are: who is called may subscribe and unsubscribe others."""
        for number in list(self._members):
            if number in self._members:
                yield self._members[number]


class Pulse:
    """Calls its subscribers every `interval` seconds, on the loop and from its thread only; no timer without them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float = INTERVAL) -> None:
        self.interval = interval
        self._loop = loop
        self._subscribers: Subscribers[Callable[[], object]] = Subscribers()
        # Not a task: one that is pending when its loop is closed complains, and only its own end would stop it.
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether there is a timer."""
        return self._timer is not None

    def subscribe(self, callback: Callable[[], object]) -> Unsubscribe:
        """Call `callback` at every beat until the returned function is called; what it raises is logged."""
        remove = self._subscribers.add(callback)
        if self._timer is None:
            self._timer = self._loop.call_later(self.interval, self._beat)

        def unsubscribe() -> None:
            if remove() and not self._subscribers and self._timer is not None:
                self._timer.cancel()
                self._timer = None

        return unsubscribe

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self.interval, self._beat)
        call_each(self._subscribers)


class PerLoop(Generic[T]):
    """One `T` for each event loop, made when it is first asked for; those of closed loops are forgotten."""

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop) -> T:
        """Return the loop's own."""
        found = self._made.get(loop)
        if found is None:
            for other in list(self._made):  # a copy: other threads have loops of their own
                if other.is_closed():
                    self._made.pop(other, None)
            found = self._made[loop] = self._make(loop)
        return found


def call_each(callbacks: Iterable[Callable[[], Any]]) -> None:
    """Call them all, though some may raise: one client's fault is not another's."""
    for callback in callbacks:
        try:
            callback()
        except Exception:  # noqa: BLE001 - it may be anybody's
            _log.exception("a callback raised")


pulse = PerLoop(Pulse)
"""Returns the `Pulse` of an event loop."""
