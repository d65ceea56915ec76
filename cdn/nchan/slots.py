"""When the streams of an nginx get their heartbeat.

nchan sends none to this kind of stream, and ends one after some seconds of silence. So each stream also listens to a
channel that stands for the second in which it was opened (of a hundred) and its lifetime: ``beat/17-30``. One message
on it, so many seconds before the end, is the heartbeat of all these streams, and the last thing they hear. Seconds are
those of the nginx in question, so that clocks need not agree.

The channels are never deleted: nchan 1.3.6 keeps what it made for their listeners for ever then. There are few instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

__all__ = ["CYCLE", "Numbers", "beats"]

CYCLE: Final = 100
"""Seconds after which the names of the channels come again; every stream of the last time has ended by then."""

LONGEST: Final = 45


class Numbers(msgspec.Struct, frozen=True):
    """What nginx.conf says at ``/feeder``: its clock, the silence that ends a stream, and the lifetimes, in seconds."""

    now: float
    silence: int
    lifetimes: list[int]

    def __post_init__(self) -> None:
        if not self.lifetimes:
            raise ValueError("there must be lifetimes")
        # The heartbeat reaches a stream up to a second later than it is due: silence must not have ended it by then.
        if not all(self.silence < each <= min(2 * self.silence - 2, LONGEST) for each in self.lifetimes):
            raise ValueError("lifetimes must be above `silence` and at most twice that less 2 s, and 45 s")


def beats(second: int, numbers: Numbers) -> Iterator[str]:
    """Yield the paths to post a heartbeat to when `second` (Unix time) has begun."""
    for lifetime in numbers.lifetimes:
        # One more, because the streams were opened within that second and none may end before its time.
        opened = second - 1 - (lifetime - numbers.silence)
        yield f"/beat/{opened % CYCLE:02}-{lifetime}"
