"""Two runs side by side, figure by figure: what differs between them decides first whether that is fair."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from loadtest.report import figures
from loadtest.results import GroupResults, Results

__all__ = ["FIGURES", "Change", "Comparison", "Difference", "compared", "worse_than"]

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

ENTRY: Final = re.compile(r"(.*?\[[^]]*\])\.")
"""A table in a list of them, as ``timeline[2]`` of ``timeline[2].at``."""

ALIKE: Final = 2.0
"""Percent below which two figures are as good as the same: buckets of histograms are 1.6 % wide."""

IGNORED: Final = frozenset(
    {"moment", "command", "began", "started", "finished", "when", "date", "commit", "load_average"}
)
"""Parts of the provenance that differ between any two runs, or that say nothing about what was measured."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the two runs did not have in common; None where one has none of it."""

    of: Literal["scenario", "provenance", "run"]
    name: str
    a: str | None
    b: str | None


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
        """Which run has a better one that deserves the name; None where they are as good as the same."""
        return None if self.percent is not None and abs(self.percent) < ALIKE else self.ahead

    @property
    def ahead(self) -> Literal["a", "b"] | None:
        """Which run has the better one, however little; None where they are the same or nobody can say."""
        if self.a is None or self.b is None or self.a == self.b or self.better == "neither":
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
    groups = {name: tuple(_of_groups(ours.get(name), theirs.get(name))) for name in ours | theirs}
    changes = tuple(
        Change(path, name, _figure(a, path), _figure(b, path), better, write)
        for path, (name, better, write) in FIGURES.items()
    )
    return Comparison(
        a=a,
        b=b,
        names=names,
        differences=tuple(_differences(a, b)),
        changes=tuple(change for change in changes if change.a is not None or change.b is not None),
        groups=groups,
        servers=tuple(_of_servers(a, b)),
    )


def worse_than(comparison: Comparison, percent: float, paths: Sequence[str] = ()) -> list[Change]:
    """Return the figures in which the second run is worse by more than `percent`, of `paths` or of all.

    A figure that grew from nothing is worse without bound, and so is one that the second run does not have and the
    first has. Raises ValueError for a path that is no figure of `FIGURES`, or none that one of them is better in.
    """
    for path in paths:
        if path not in FIGURES or FIGURES[path][1] == "neither":
            known = ", ".join(name for name, (_, better, _) in FIGURES.items() if better != "neither")
            raise ValueError(f"{path!r} is no figure to compare by; there are {known}")
    return [
        change
        for change in comparison.changes
        if (not paths or change.path in paths) and change.better != "neither" and _worse(change, percent)
    ]


def _worse(change: Change, percent: float) -> bool:
    if change.a is None:
        return False
    if change.b is None:
        return True
    if change.ahead != "a":
        return False
    return change.percent is None or abs(change.percent) > percent


def _figure(results: object, path: str) -> float | None:
    """Return a figure by its path; None where there is none, or nothing to look in."""
    if results is None:
        return None
    value = results
    for name in path.split("."):
        value = getattr(value, name)
    return float(value) if isinstance(value, int | float) else None


def _of_groups(a: GroupResults | None, b: GroupResults | None) -> Iterator[Change]:
    for path in (
        "streams.peak",
        "streams.gave_up",
        "delivery.p50_ms",
        "delivery.p99_ms",
        "readmission.p50_s",
        "readmission.p99_s",
        "staleness.p99_s",
        "lost",
    ):
        name, better, write = FIGURES[path]
        change = Change(path, name, _figure(a, path), _figure(b, path), better, write)
        if change.a is not None or change.b is not None:
            yield change


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


def _differences(a: Results, b: Results) -> Iterator[Difference]:
    if a.name != b.name:
        yield Difference("run", "name", a.name, b.name)
    for name, one, other in (
        ("verdict", a.verdict, b.verdict),
        ("the generator was the limit", _yes(a.generator.was_the_limit), _yes(b.generator.was_the_limit)),
    ):
        # Two interrupted runs are as little to be compared as one.
        if one != other or one in {"interrupted", "yes"}:
            yield Difference("run", name, one, other)
    if a.generator.shared_cores != b.generator.shared_cores:
        yield Difference(
            "run",
            "server and generator used up the cores that they shared",
            _yes(a.generator.shared_cores),
            _yes(b.generator.shared_cores),
        )
    yield from _of_tables("scenario", a.scenario, b.scenario, frozenset({"title", "about", "thresholds"}))
    yield from _of_tables("provenance", a.provenance, b.provenance, IGNORED)


def _of_tables(
    of: Literal["scenario", "provenance"], a: Mapping[str, Any], b: Mapping[str, Any], ignored: frozenset[str]
) -> Iterator[Difference]:
    ours, theirs = dict(_flat(a)), dict(_flat(b))
    entries = dict.fromkeys(found[1] for found in map(ENTRY.match, ours | theirs) if found)
    only = {entry: (_entry(ours, entry), _entry(theirs, entry)) for entry in entries}
    # What only one has of a list of tables is one difference, not as many as it has keys.
    only = {entry: each for entry, each in only.items() if None in each}
    for name in ours | theirs:
        if (found := ENTRY.match(name)) and found[1] in only:
            continue
        if name.split(".")[0] in ignored or name.split(".")[-1] in ignored & IGNORED:
            continue
        if ours.get(name) != theirs.get(name):
            yield Difference(of, name, ours.get(name), theirs.get(name))
    for entry, (one, other) in only.items():
        yield Difference(of, entry, one, other)


def _entry(values: Mapping[str, str], entry: str) -> str | None:
    """Return what a table of a list says, without what it leaves off; None where there is no such table."""
    of = {name.removeprefix(f"{entry}."): value for name, value in values.items() if name.startswith(f"{entry}.")}
    told = [f"{key} {value}" for key, value in of.items() if key != "name" and value not in {"0", "0.0 0.0", "false"}]
    return ", ".join(told) if of else None


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the plain values of nested tables and lists by their paths; ``3`` and ``3.0`` are the same, "" is none."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, 1):
            # By its name where it has one: groups of clients are the same in whatever order they stand.
            yield from _flat(each, f"{path}[{(isinstance(each, Mapping) and each.get('name')) or number}]")
    elif isinstance(value, list | tuple):
        if value:
            yield path, " ".join(str(each) for each in value)
    elif isinstance(value, bool):  # as TOML has it
        yield path, str(value).lower()
    elif isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - whole numbers are exact
        yield path, str(int(value))
    elif value is not None and value != "":
        yield path, str(value)


def _yes(value: bool) -> str:  # noqa: FBT001 - a word for it
    return "yes" if value else "no"
