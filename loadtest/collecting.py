"""What all generators measured, joined while it comes: curves, sums, peaks, and what each fault did."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from loadtest.aftermath import Aftermath
from loadtest.curves import Curves, Outside
from loadtest.dividing import Crowd
from loadtest.grid import Grid, GroupPoint, Point
from loadtest.histogram import Histogram
from loadtest.messages import LEVELS, Sample

__all__ = ["STEP", "Collector", "Joined", "OwnCost"]

STEP: Final = 0.25
"""Seconds between two samples of a generator, and between two points of the grid."""

A_SECOND: Final = round(1 / STEP)
BUSY: Final = 0.9


@dataclass(slots=True)
class Joined:
    """Sums and peaks of one group, or of all: `total` has all counts, and the levels as they were last."""

    total: GroupPoint = field(default_factory=GroupPoint)
    peaks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    opens_per_s_peak: int = 0
    fetches_per_s_peak: int = 0
    lost: int = 0
    """Clients that were not at the newest version at the end."""
    _last: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=A_SECOND))

    def add(self, point: GroupPoint) -> None:
        """Take the next point."""
        self.total.follow(point)
        self.total.levels = point.levels
        for name in LEVELS:
            self.peaks[name] = max(self.peaks[name], point.levels[name])
        self._last.append((point.counts["opened"], point.counts["fetches"]))
        self.opens_per_s_peak = max(self.opens_per_s_peak, sum(opened for opened, _ in self._last))
        self.fetches_per_s_peak = max(self.fetches_per_s_peak, sum(fetches for _, fetches in self._last))


@dataclass(slots=True)
class OwnCost:
    """What the swarm itself cost, and how busy it was."""

    processes: int = 0
    cpu: float = 0.0
    cpu_opening: float = 0.0
    cpu_fetching: float = 0.0
    cpu_events: float = 0.0
    rss_peak: int = 0
    rss_at_peak: int = 0
    """When the most streams were open."""
    most_streams: int = 0
    busy_peak: float = 0.0
    busy_for: float = 0.0
    """Seconds on end that one process was nearly always busy."""
    late: float = 0.0
    loop: float = 0.0
    queued: Histogram = field(default_factory=Histogram)
    """How long fetches of flags waited for one of its connections."""
    answered: Histogram = field(default_factory=Histogram)
    """How long they took then."""
    errors: dict[str, int] = field(default_factory=dict)
    _busy: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By process: when it was heard last, and for how long it was busy then."""

    def heard(self, sample: Sample) -> None:
        """Take how busy one process was."""
        at, before = self._busy.get(sample.process, (0.0, 0.0))
        busy = before + sample.at - at if sample.busy > BUSY else 0.0  # who is busy says so late
        self._busy[sample.process] = sample.at, busy
        self.busy_for = max(self.busy_for, round(busy, 3))

    def add(self, point: Point, *, is_peak: bool) -> None:
        """Take all processes at one moment."""
        self.cpu = max(self.cpu, point.cpu)
        self.cpu_opening = max(self.cpu_opening, point.cpu_opening)
        self.cpu_fetching = max(self.cpu_fetching, point.cpu_fetching)
        self.cpu_events = max(self.cpu_events, point.cpu_events)
        self.rss_peak = max(self.rss_peak, point.rss)
        if is_peak:
            self.rss_at_peak = point.rss
        self.most_streams = max(self.most_streams, point.most_streams)
        self.busy_peak = max(self.busy_peak, point.busy)
        self.late = max(self.late, point.late)
        self.loop = max(self.loop, point.loop)
        for group in point.groups:
            self.queued.add(group.histograms["fetch_queued"])
            self.answered.add(group.histograms["fetch_answered"])
        for words, times in point.errors.items():
            self.errors[words] = self.errors.get(words, 0) + times


class Collector:
    """Takes samples as they come; `outside` is asked for what is known of a moment besides them."""

    def __init__(self, crowds: Sequence[Crowd], processes: int, outside: Callable[[], Outside]) -> None:
        self.crowds = crowds
        self.curves = Curves([crowd.name for crowd in crowds], STEP)
        self.whole = Joined()
        self.groups = [Joined() for _ in crowds]
        self.own = OwnCost(processes=processes)
        self.aftermaths: list[Aftermath] = []
        self.at = 0.0
        self._grid = Grid(len(crowds), range(processes), STEP)
        self._outside = outside
        self._before = GroupPoint()

    def take(self, sample: Sample) -> None:
        """Take what one generator counted."""
        self.own.heard(sample)
        self._add(self._grid.take(sample))

    def gone(self, process: int) -> None:
        """Take that a generator says nothing more."""
        self._add(self._grid.gone(process))

    def ended(self, lost: Sequence[int]) -> None:
        """Take the last word of a generator: by group, the clients that are not at the newest version."""
        for joined, number in zip(self.groups, lost, strict=True):
            joined.lost += number
            self.whole.lost += number

    def begin(self, aftermath: Aftermath, *, hurts: bool) -> None:
        """Follow an entry of the timeline from now on; what hurts ends the following of those before it."""
        aftermath.hurts = hurts
        if hurts:
            for earlier in self.aftermaths:
                earlier.until = min(earlier.until, aftermath.at)
        self.aftermaths.append(aftermath)

    def finish(self) -> None:
        """Take what is left, at the end."""
        self._add(self._grid.rest())
        self.curves.finish()

    def _add(self, points: Iterable[Point]) -> None:
        for point in points:
            whole = point.whole()
            is_peak = whole.levels["open"] > self.whole.peaks["open"]
            self.whole.add(whole)
            for joined, group in zip(self.groups, point.groups, strict=True):
                joined.add(group)
            self.own.add(point, is_peak=is_peak)
            for aftermath in self.aftermaths:
                aftermath.follow(point.until, self._before, whole)
            self.curves.add(point, self._outside())
            self._before = whole
            self.at = point.at
