"""What a client's own account says against the truth: how long it was behind, what it never reached."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.faulty.wire import Change

__all__ = ["Shown", "busiest", "missed", "reached_at", "stale"]

SECOND: Final = 1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """From `at` (Unix seconds) on the app saw `number`."""

    at: float
    number: int


def stale(changes: Sequence[Change], shown: Sequence[Shown], begin: float, end: float) -> float:
    """Return the seconds between two moments at which the app saw less than the truth."""
    times = sorted({begin, end, *(at for at in (*_times(changes), *_times(shown)) if begin < at < end)})
    return sum(after - before for before, after in pairwise(times) if _seen(shown, before) < _truth(changes, before))


def missed(changes: Sequence[Change], shown: Sequence[Shown], begin: float, end: float) -> int:
    """Count the changes of a stretch of time of which the app had seen neither them nor a newer one by its end."""
    best = max((each.number for each in shown if each.at <= end), default=-1)
    return sum(begin <= change.at < end and change.number > best for change in changes)


def reached_at(number: int, shown: Sequence[Shown]) -> float | None:
    """Return when the app first saw `number` or a newer one."""
    return next((each.at for each in shown if each.number >= number), None)


def busiest(times: Sequence[float]) -> int:
    """Return the most of `times`, which are sorted, that fall within one second."""
    return max((index + 1 - bisect_right(times, at - SECOND) for index, at in enumerate(times)), default=0)


def _times(moments: Sequence[Change] | Sequence[Shown]) -> list[float]:
    return [each.at for each in moments]


def _truth(changes: Sequence[Change], at: float) -> int:
    return changes[bisect_right(changes, at, key=lambda change: change.at) - 1].number


def _seen(shown: Sequence[Shown], at: float) -> int:
    index = bisect_right(shown, at, key=lambda each: each.at)
    return shown[index - 1].number if index else -1
