"""Two runs side by side, figure by figure: what differs between them decides first whether that is fair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from loadtest.report import figures
from loadtest.report.differing import Difference, differences
from loadtest.results import GroupResults, Results

__all__ = ["FIGURES", "Change", "Comparison", "compared"]

Better = Literal["less", "more", "neither"]
Written = Callable[[float | None], str]

FIGURES: Final[Mapping[str, tuple[str, Better, Written]]] = {
    "streams.peak": ("Streams, most at once", "more", figures.count),
    "streams.opened": ("Streams opened", "neither", figures.count),
    "streams.requests": ("Requests for streams", "less", figures.count),
    "streams.opens_per_s_peak": ("Opened a second, at its peak", "neither", figures.rate),
    "streams.gave_up": ("Gave up for good", "less", figures.count),
    "opening.p50_s": ("Stream answered, p50", "less", figures.s),
    "opening.p99_s": ("Stream answered, p99", "less", figures.s),
    "delivery.count": ("Deliveries", "neither", figures.count),
    "delivery.p50_ms": ("Delivery p50", "less", figures.ms),
    "delivery.p99_ms": ("Delivery p99", "less", figures.ms),
    "delivery.p999_ms": ("Delivery p99.9", "less", figures.ms),
    "delivery.max_ms": ("Delivery, slowest", "less", figures.ms),
    "readmission.p50_s": ("Re-admission p50", "less", figures.s),
    "readmission.p99_s": ("Re-admission p99", "less", figures.s),
    "readmission.max_s": ("Re-admission, slowest", "less", figures.s),
    "staleness.behind_peak": ("Behind, most at once", "less", figures.count),
    "staleness.p50_s": ("Behind for, p50", "less", figures.s),
    "staleness.p99_s": ("Behind for, p99", "less", figures.s),
    "staleness.client_seconds": ("Behind, clients × seconds", "less", figures.count),
    "lost": ("Lost", "less", figures.count),
    "duplicates": ("Duplicates", "less", figures.count),
    "out_of_order": ("Out of order", "less", figures.count),
    "requests.edge": ("Requests at the edge, of any kind", "neither", figures.count),
    "requests.edge_sent_on": ("Requests for streams that the edge sent on", "less", figures.count),
    "requests.origin": ("Requests at the origin", "less", figures.count),
    "requests.origin_streams_peak": ("Streams at the origin, most", "less", figures.count),
    "fetches.count": ("Flags fetched", "neither", figures.count),
    "fetches.failed": ("Fetches failed", "less", figures.count),
    "fetches.events_dropped": ("Events dropped while fetching", "neither", figures.count),
    "publishing.accepted": ("Changes accepted", "neither", figures.count),
    "publishing.p99_ms": ("Change answered, p99", "less", figures.ms),
    "generator.cpu_s": ("CPU of the generator", "neither", figures.cpu),
    "generator.busy_peak": ("Generator, busiest", "neither", figures.share),
}
"""What is compared: a path into the results, its name, which is better, and how it is written."""

OF_GROUPS: Final = (
    "streams.peak",
    "streams.gave_up",
    "delivery.p50_ms",
    "delivery.p99_ms",
    "readmission.p50_s",
    "readmission.p99_s",
    "staleness.p99_s",
    "lost",
)
"""The ones of these that are compared of each group."""

ALIKE: Final = 2.0
"""Percent below which two figures are as good as the same: buckets of histograms are 1.6 % wide."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of both runs."""

    path: str
    name: str
    a: float | None
    b: float | None
    better: Better
    write: Written

    @property
    def percent(self) -> float | None:
        """By how much percent it grew; None where either is missing or it grew from nothing."""
        if self.a is None or self.b is None:
            return None
        if self.a == self.b:
            return 0.0
        return (self.b / self.a - 1) * 100 if self.a else None

    @property
    def winner(self) -> Literal["a", "b"] | None:
        """Which run has the better one; None where they are as good as the same, or nobody can say."""
        if self.a is None or self.b is None or self.a == self.b or self.better == "neither":
            return None
        if self.percent is not None and abs(self.percent) < ALIKE:
            return None
        return "b" if (self.b < self.a) == (self.better == "less") else "a"

    @property
    def told(self) -> str:
        """The change in words."""
        return figures.change(self.a, self.b)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs: what differs between how they were made, and between what they found."""

    a: Results
    b: Results
    names: tuple[str, str]
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    groups: Mapping[str, tuple[Change, ...]]
    """By the name of a group that both have, or that one has."""
    servers: tuple[Change, ...]


def compared(a: Results, b: Results, names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Return the comparison of two runs, `a` being the one before; `names` are what a reader knows them by."""
    ours = {group.name: group for group in a.groups}
    theirs = {group.name: group for group in b.groups}
    return Comparison(
        a=a,
        b=b,
        names=names,
        differences=tuple(differences(a, b)),
        changes=tuple(_changes(a, b, FIGURES)),
        groups={name: tuple(_changes(ours.get(name), theirs.get(name), OF_GROUPS)) for name in ours | theirs},
        servers=tuple(_of_servers(a, b)),
    )


def _changes(
    a: Results | GroupResults | None, b: Results | GroupResults | None, paths: Iterable[str]
) -> Iterator[Change]:
    """Yield the figures of `FIGURES` at `paths` that either has."""
    for path in paths:
        name, better, write = FIGURES[path]
        change = Change(path, name, _figure(a, path), _figure(b, path), better, write)
        if change.a is not None or change.b is not None:
            yield change


def _figure(results: object, path: str) -> float | None:
    """Return a figure by its path; None where there is none, or nothing to look in."""
    if results is None:
        return None
    value = results
    for name in path.split("."):
        value = getattr(value, name)
    return float(value) if isinstance(value, int | float) else None


def _of_servers(a: Results, b: Results) -> Iterator[Change]:
    ours = {process.name: process for process in a.server}
    theirs = {process.name: process for process in b.server}
    for name in ours | theirs:
        one, other = ours.get(name), theirs.get(name)
        for path, what, write in (("cpu_s", "CPU", figures.cpu), ("rss_peak", "memory, most", figures.data_size)):
            yield Change(
                f"server.{name}.{path}",
                f"{name}: {what}",
                _figure(one, path),
                _figure(other, path),
                "less",
                write,
            )
