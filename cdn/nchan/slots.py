"""When the streams of an nginx get their heartbeats and their end.

nchan sends neither to this kind of stream, so each stream also listens to a channel that stands for the second in which
it was opened (of a thousand) and its lifetime: ``end/417-30``. A message on it is everybody's heartbeat, deleting it
ends them cleanly. Seconds are those of the nginx in question, so that clocks need not agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = ["CYCLE", "Numbers", "due"]

CYCLE: Final = 1000
"""Seconds after which the names of the channels come again; every lifetime is well below."""


class Numbers(msgspec.Struct, frozen=True):
    """What nginx.conf says at ``/feeder``: its clock, and the seconds of its heartbeats and lifetimes."""

    now: float
    heartbeat: int
    lifetimes: list[int]

    def __post_init__(self) -> None:
        if self.heartbeat < 1 or not self.lifetimes or not all(0 < each < CYCLE - 100 for each in self.lifetimes):
            raise ValueError("heartbeat and lifetimes must be whole seconds from 1, lifetimes below 900")


def due(second: int, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Yield method and path of what is due when `second` (Unix time) has begun."""
    for lifetime in numbers.lifetimes:
        # Opened within the second `opened`: one more, so that none ends before its time.
        yield "DELETE", _path(second - 1 - lifetime, lifetime)
        # The oldest of a second is this old when it begins, so that none is silent for longer.
        for age in range(numbers.heartbeat, lifetime, numbers.heartbeat):
            yield "POST", _path(second - age, lifetime)


def _path(opened: int, lifetime: int) -> str:
    return f"/end/{opened % CYCLE:03}-{lifetime}"
