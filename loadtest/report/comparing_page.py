"""A comparison as a page: both runs' curves over each other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from markupsafe import Markup

from loadtest.histogram import Histogram
from loadtest.report.comparing import Comparison
from loadtest.report.curves import marks
from loadtest.report.distributions import Named, percentiles, shares
from loadtest.report.document import document
from loadtest.report.plots import Line, Plot, Unit
from loadtest.report.templating import templates
from loadtest.report.thinning import thinned
from loadtest.results import Results, Series

__all__ = ["comparison_page"]

SYNC: Final = "runs"
CURVES: Final[Sequence[tuple[str, str, str, Unit]]] = (
    ("open", "Streams open", "", "count"),
    ("opens_per_s", "Opened", "Streams a second.", "per_s"),
    ("requests_per_s", "Asked for", "Requests for streams a second.", "per_s"),
    ("losses_per_s", "Lost", "Streams a second, otherwise than by a clean end.", "per_s"),
    ("behind", "Clients behind the newest version", "Those without a stream count too.", "count"),
    ("delivery_p99_ms", "Delivery p99", "By moment.", "ms"),
    ("delivery_p50_ms", "Delivery p50", "By moment.", "ms"),
    ("origin_streams", "Streams at the origin", "What the origin holds for all clients.", "count"),
    ("generator_busy", "The generator", "Busiest of its processes, in cores.", "cores"),
)


def comparison_page(comparison: Comparison) -> bytes:
    """Return the page of a comparison, UTF-8; nothing in the results is taken for markup."""
    over_time = list(_curves(comparison))
    distributions = list(_distributions(comparison))
    body = (
        templates()
        .get_template("comparison.html")
        .render(comparison=comparison, over_time=over_time, distributions=distributions)
    )
    title = f"{comparison.names[0]} against {comparison.names[1]}"
    return document(title, Markup(body), [*over_time, *distributions])  # noqa: S704 - escaped by its template


def _curves(comparison: Comparison) -> Iterator[Plot]:
    runs = [thinned(run.series)[0] for run in (comparison.a, comparison.b)]
    grid = max((series.at_s for series in runs), key=lambda at: (at[-1] if at else 0.0, len(at)))
    faults = marks(comparison.a) if _alike(comparison.a, comparison.b) else _both(comparison)
    for name, title, about, unit in CURVES:
        plot = Plot(
            id=f"curve-{name.replace('_', '-')}",
            title=title,
            about=about,
            x=grid,
            unit=unit,
            log=unit == "ms" or (name == "origin_streams" and _far_apart(runs)),
            sync=SYNC,
            marks=faults,
            wide=name == "open",
            lines=_pair(comparison.names, [on_grid(grid, series, name) for series in runs], sparse=unit == "ms"),
        )
        if not plot.empty:
            yield plot
    for number, program in enumerate(dict.fromkeys([*runs[0].cpu, *runs[1].cpu])):
        values = [_held(grid, series.at_s, series.cpu.get(program, [])) for series in runs]
        plot = Plot(
            id=f"cpu-{number}",
            title=f"CPU of {program}",
            about="In cores.",
            x=grid,
            unit="cores",
            sync=SYNC,
            marks=faults,
            lines=_pair(comparison.names, values),
        )
        if not plot.empty:
            yield plot


def _far_apart(runs: Sequence[Series]) -> bool:
    """Return whether one run has so many more streams at the origin that the other's could not be seen beside them."""
    few, many = sorted(max((streams or 0 for streams in series.origin_streams), default=0) for series in runs)
    return 0 < 10 * few < many


def _pair(names: tuple[str, str], values: Sequence[Sequence[float | None]], *, sparse: bool = False) -> list[Line]:
    return [Line(name, line, hue, sparse=sparse) for hue, (name, line) in enumerate(zip(names, values, strict=True))]


def _alike(a: Results, b: Results) -> bool:
    return [(fault.what, round(fault.at_s)) for fault in a.faults] == [
        (fault.what, round(fault.at_s)) for fault in b.faults
    ]


def _both(comparison: Comparison) -> list[Any]:
    """Return the faults of both runs, in the colours of their runs."""
    made = [
        msgspec.structs.replace(mark, name=f"{name}: {mark.name}", hue=hue)
        for hue, (name, run) in enumerate(zip(comparison.names, (comparison.a, comparison.b), strict=True))
        for mark in marks(run)
    ]
    return sorted(made, key=lambda mark: mark.at)


def on_grid(grid: Sequence[float], series: Series, name: str) -> list[float | None]:
    """Return one of a run's series at other moments: at each the value that held then, None after its end."""
    return _held(grid, series.at_s, getattr(series, name))


def _held(grid: Sequence[float], at: Sequence[float], values: Sequence[float | None]) -> list[float | None]:
    if len(values) != len(at) or not at:
        return [None] * len(grid)
    step = (at[-1] - at[0]) / max(len(at) - 1, 1)
    places = [bisect_right(at, moment + 1e-6) - 1 for moment in grid]
    return [
        values[place] if place >= 0 and moment <= at[-1] + step else None
        for moment, place in zip(grid, places, strict=True)
    ]


def _distributions(comparison: Comparison) -> Iterator[Plot]:
    def both(part: str) -> list[Named]:
        return [
            (name, Histogram(getattr(run, part).histogram))
            for name, run in zip(comparison.names, (comparison.a, comparison.b), strict=True)
        ]

    delivery = percentiles(both("delivery"))
    if not delivery.empty:
        yield delivery
    kinds: Mapping[str, tuple[str, str]] = {
        "readmission": (
            "Re-admission",
            "Share of those that lost their stream and had one again, by how long it took.",
        ),
        "staleness": ("How long clients were behind", "Share of the times that a client was behind."),
        "opening": ("Answering a request for a stream", "Share of the streams opened, connecting included."),
        "fetches": ("Fetching flags", "Share of the fetches."),
    }
    for name, (title, about) in kinds.items():
        plot = shares(f"share-{name}", title, about, both(name))
        if not plot.empty:
            yield plot
