"""Samples of several processes on one grid of time: each of its points has all that all of them counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from loadtest.histogram import Histogram
from loadtest.messages import COUNTS, HISTOGRAMS, LEVELS, GroupSample, Sample

__all__ = ["Grid", "GroupPoint", "Point"]

K = TypeVar("K")


@dataclass(slots=True)
class GroupPoint:
    """One group at one moment, all processes together; names are those of `GroupSample`."""

    levels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    histograms: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in HISTOGRAMS})
    readmission: dict[int, Histogram] = field(default_factory=dict)
    hurt: dict[int, int] = field(default_factory=dict)
    """A level, too."""
    lost: dict[int, int] = field(default_factory=dict)
    broken: dict[int, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def count(self, sample: GroupSample) -> None:
        """Add what a process counted."""
        for name in COUNTS:
            self.counts[name] += getattr(sample, name)
        for name in HISTOGRAMS:
            if pairs := getattr(sample, name):
                self.histograms[name].add(Histogram(pairs))
        for mark, pairs in sample.readmission.items():
            self.readmission.setdefault(mark, Histogram()).add(Histogram(pairs))
        self._count_named(sample)

    def add(self, other: GroupPoint) -> None:
        """Add another group's of the same moment: its levels, too."""
        for name in LEVELS:
            self.levels[name] += other.levels[name]
        _add(self.hurt, other.hurt)
        self.follow(other)

    def follow(self, later: GroupPoint) -> None:
        """Add what was counted at a later moment; levels stay."""
        for name in COUNTS:
            self.counts[name] += later.counts[name]
        for name in HISTOGRAMS:
            if later.histograms[name].counts:
                self.histograms[name].add(later.histograms[name])
        for mark, times in later.readmission.items():
            self.readmission.setdefault(mark, Histogram()).add(times)
        self._count_named(later)

    def _count_named(self, more: GroupSample | GroupPoint) -> None:
        _add(self.lost, more.lost)
        _add(self.broken, more.broken)
        _add(self.errors, more.errors)


def _add(sums: dict[K, int], more: Mapping[K, int]) -> None:
    for key, number in more.items():
        sums[key] = sums.get(key, 0) + number


@dataclass(slots=True)
class Point:
    """All groups at one moment of the grid, and what the generators said of themselves."""

    at: float
    groups: list[GroupPoint]
    until: float = 0.0
    """The second of the run until which something of it was counted; near `at`, before or after."""
    cpu: float = 0.0
    cpu_opening: float = 0.0
    cpu_fetching: float = 0.0
    cpu_events: float = 0.0
    rss: int = 0
    busy: float = 0.0
    """The share of the busiest."""
    late: float = 0.0
    loop: float = 0.0
    most_streams: int = 0
    """What the process with the most streams holds."""
    errors: dict[str, int] = field(default_factory=dict)

    def whole(self) -> GroupPoint:
        """Return all groups together."""
        total = GroupPoint()
        for group in self.groups:
            total.add(group)
        return total


class Grid:
    """Puts samples on a grid of `step` seconds.

    A point is done when every process has said something as late. A sample that comes late has its counts spread over
    the points that it stands for, for a rate would else seem to pause and then to double.
    """

    def __init__(self, groups: int, processes: Iterable[int], step: float) -> None:
        self._groups = groups
        self._step = step
        self._reached = dict.fromkeys(processes, 0)
        self._levels: dict[int, Sample] = {}
        self._open: dict[int, list[Sample]] = {}
        self._spread: dict[int, list[tuple[int, str, int]]] = {}
        """By point: group, count, and how much of it moves here from a later sample; or, if negative, from here."""
        self._gone: dict[int, int] = {}
        """By process that is gone: the last point that it told of, after which it holds nothing."""
        self._done = 0

    def take(self, sample: Sample) -> Iterator[Point]:
        """Take a sample; yield the points that it completes, in order."""
        number = max(round(sample.at / self._step), self._done + 1)
        self._open.setdefault(number, []).append(sample)
        reached = self._reached[sample.process]
        if number > reached + 1:
            self._spread_out(sample, range(reached + 1, number + 1))
        self._reached[sample.process] = max(reached, number)
        yield from self._points(min(self._reached.values()))

    def _spread_out(self, sample: Sample, points: range) -> None:
        """Move its counts from the last of the points that it stands for to all of them alike."""
        for index, group in enumerate(sample.groups):
            for name in COUNTS:
                whole = getattr(group, name)
                if not whole:
                    continue
                for passed, number in enumerate(points[:-1]):
                    part = whole * (passed + 1) // len(points) - whole * passed // len(points)
                    self._spread.setdefault(number, []).append((index, name, part))
                    self._spread.setdefault(points[-1], []).append((index, name, -part))

    def gone(self, process: int) -> Iterator[Point]:
        """Take that a process says nothing more, and holds nothing; yield the points that waited for it."""
        self._gone[process] = self._reached.pop(process)
        yield from self._points(min(self._reached.values(), default=max(self._open, default=0)))

    def rest(self) -> Iterator[Point]:
        """Yield the points that are still open, at the end."""
        yield from self._points(max(self._open, default=0))

    def _points(self, until: int) -> Iterator[Point]:
        while self._done < until:
            self._done += 1
            yield self._point(self._done, self._open.pop(self._done, []))

    def _point(self, number: int, samples: list[Sample]) -> Point:
        point = Point(at=number * self._step, groups=[GroupPoint() for _ in range(self._groups)])
        for index, name, part in self._spread.pop(number, ()):
            point.groups[index].counts[name] += part
        for sample in samples:
            self._levels[sample.process] = sample
            point.until = max(point.until, sample.at)
            point.busy = max(point.busy, sample.busy)
            point.late = max(point.late, sample.late)
            point.loop = max(point.loop, sample.loop)
            for words, times in sample.generator_errors.items():
                point.errors[words] = point.errors.get(words, 0) + times
            for index, group in enumerate(sample.groups):
                point.groups[index].count(group)
        for process, last in self._gone.items():
            if number > last:
                self._levels.pop(process, None)
        for sample in self._levels.values():
            point.cpu += sample.cpu
            point.cpu_opening += sample.cpu_opening
            point.cpu_fetching += sample.cpu_fetching
            point.cpu_events += sample.cpu_events
            point.rss += sample.rss
            point.most_streams = max(point.most_streams, sum(group.open for group in sample.groups))
            for index, group in enumerate(sample.groups):
                levels = point.groups[index].levels
                for name in LEVELS:
                    levels[name] += getattr(group, name)
                _add(point.groups[index].hurt, group.hurt)
        return point
