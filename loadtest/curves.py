"""The curves of a run: never more than some 1,200 points, however long it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loadtest.grid import Point
from loadtest.histogram import Histogram
from loadtest.models import Loss
from loadtest.results import Series

__all__ = ["BROKEN", "MOST_POINTS", "Curves", "Outside"]

MOST_POINTS: Final = 1_200

BROKEN: Final = (int(Loss.CUT), int(Loss.SILENT))
"""How a stream that was there is lost; the other kinds are attempts that never were one."""

_LEVELS: Final = ("open", "connecting", "waiting", "gave_up", "behind")
_RATES: Final = {
    "opens_per_s": "opened",
    "requests_per_s": "requests",
    "events_per_s": "events",
    "fetches_per_s": "fetches",
}


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known of a moment that no generator tells; CPU in cores, by program."""

    published: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    rss: dict[str, int] = field(default_factory=dict)
    origin_streams: int | None = None


class Curves:
    """Appends points of a grid of `step` seconds to `series`, which stays the same object; `most` is even.

    Once it is full, two points become one: levels are the later one's, rates the mean of both, and percentiles those
    of all deliveries of both.
    """

    def __init__(self, groups: Sequence[str], step: float, most: int = MOST_POINTS) -> None:
        self.series = Series(open_by_group={name: [] for name in groups})
        self._groups = groups
        self._step = step
        self._most = most
        self._every = 1
        """Points of the grid in one of the curves."""
        self._delivery: list[Histogram] = []
        self._pending: list[tuple[Point, Outside]] = []

    def add(self, point: Point, outside: Outside) -> None:
        """Take the next point of the grid."""
        self._pending.append((point, outside))
        if len(self._pending) >= self._every:
            self.finish()
            if len(self.series.at_s) >= self._most:
                self._thin()

    def finish(self) -> None:
        """Take what has not made a whole point yet."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        series = self.series
        lasted = self._step * len(pending)
        last, outside = pending[-1]
        wholes = [point.whole() for point, _ in pending]
        series.at_s.append(round(last.at, 6))
        for name in _LEVELS:
            getattr(series, name).append(wholes[-1].levels[name])
        for name, count in _RATES.items():
            getattr(series, name).append(round(sum(whole.counts[count] for whole in wholes) / lasted, 3))
        series.losses_per_s.append(
            round(sum(whole.lost.get(kind, 0) for whole in wholes for kind in BROKEN) / lasted, 3)
        )
        delivery = Histogram()
        for whole in wholes:
            delivery.add(whole.histograms["delivery"])
        self._delivery.append(delivery)
        series.delivery_p50_ms.append(_milliseconds(delivery, 0.5))
        series.delivery_p99_ms.append(_milliseconds(delivery, 0.99))
        series.published.append(outside.published)
        series.generator_busy.append(round(max(point.busy for point, _ in pending), 4))
        series.generator_rss.append(last.rss)
        series.origin_streams.append(outside.origin_streams)
        for index, name in enumerate(self._groups):
            series.open_by_group[name].append(last.groups[index].levels["open"])
        cores = {name: sum(each.cpu.get(name, 0.0) for _, each in pending) / len(pending) for name in outside.cpu}
        self._append_named(series.cpu, {name: round(value, 4) for name, value in cores.items()}, 0.0)
        self._append_named(series.rss, outside.rss, 0)

    def _append_named(self, curves: dict[str, list[Any]], values: dict[str, Any], none: float) -> None:
        """Append to curves that may begin late or end early: each stays as long as the others."""
        before = len(self.series.at_s) - 1
        for name in sorted({*curves, *values}):
            curves.setdefault(name, [none] * before).append(values.get(name, none))

    def _thin(self) -> None:
        series = self.series
        for rates in self._rates():
            rates[:] = [round((early + late) / 2, 4) for early, late in zip(rates[::2], rates[1::2], strict=True)]
        for levels in self._levels():
            levels[:] = levels[1::2]
        for late, early in zip(self._delivery[1::2], self._delivery[::2], strict=True):
            late.add(early)
        self._delivery = self._delivery[1::2]
        series.delivery_p50_ms[:] = [_milliseconds(delivery, 0.5) for delivery in self._delivery]
        series.delivery_p99_ms[:] = [_milliseconds(delivery, 0.99) for delivery in self._delivery]
        self._every *= 2

    def _rates(self) -> Iterator[list[float]]:
        series = self.series
        yield from (getattr(series, name) for name in (*_RATES, "losses_per_s", "generator_busy"))
        yield from series.cpu.values()

    def _levels(self) -> Iterator[list[Any]]:
        series = self.series
        yield from (getattr(series, name) for name in (*_LEVELS, "at_s", "published", "generator_rss"))
        yield series.origin_streams
        yield from series.rss.values()
        yield from series.open_by_group.values()


def _milliseconds(histogram: Histogram, share: float) -> float | None:
    seconds = histogram.percentile(share)
    return None if seconds is None else round(seconds * 1e3, 3)
