"""What is drawn on a page: plots as values, and the data that ``assets/plots.js`` draws them from."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from loadtest.histogram import Histogram

__all__ = ["Line", "Mark", "Plot", "Unit", "cumulative", "data", "latencies"]

Unit = Literal[
    "count",
    "per_s",
    "clock_s",
    "s",
    "ms",
    "bytes",
    "bytes_per_s",
    "share",
    "cores",
    "nines",
    "usd",
]
"""How values are written: `clock_s` are moments of a run, `share` is 0 to 1, `nines` -log10(1 - share)."""

Values = Sequence[float | None]


class Line(msgspec.Struct, frozen=True):
    """One curve: as many values as its plot has x; None leaves a gap."""

    name: str
    values: Values
    hue: int | None = None
    """Number of its colour, 0 to 7; None takes that of its place."""
    dashed: bool = False
    filled: bool = False
    steps: bool = False
    sparse: bool = False
    """Whether it has values only now and then: it goes on over gaps, but for those much longer than most."""
    shown: bool = True
    """Whether it is shown from the start; a click on its legend shows or hides it."""
    told: str = ""
    """What its legend says while nothing is pointed at; empty: what can be read off its points."""


class Mark(msgspec.Struct, frozen=True):
    """A moment that is marked over all of a plot's height: number `number`, with its name where there is room."""

    at: float
    name: str
    number: int = 0
    until: float | None = None
    """The end of what one wants to see of it: there is a button that zooms to it."""
    hue: int | None = None
    """Colour; None is that of faults."""


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """One plot; `id` is that of its element. Plots of one `sync` share x: cursors and zooms go together."""

    id: str
    title: str
    x: Sequence[float]
    lines: Sequence[Line]
    about: str = ""
    """A sentence below the title."""
    x_unit: Unit = "clock_s"
    x_label: str = ""
    x_log: bool = False
    unit: Unit = "count"
    log: bool = False
    """Whether y is logarithmic; values of 0 are left out of it."""
    sync: str = ""
    marks: Sequence[Mark] = ()
    wide: bool = False
    """Whether it is as wide as the page, and taller."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return len(self.x) < 2 or not any(value is not None for line in self.lines for value in line.values)  # noqa: PLR2004 - a line has two ends


def data(plots: Sequence[Plot]) -> bytes:
    """Return the JSON of plots that have something to draw, fit to stand in an HTML script element.

    Columns that several plots share are there once; values keep four digits, which no screen can tell from more.
    """
    columns: list[list[float | None]] = []
    known: dict[tuple[float | None, ...], int] = {}

    def column(values: Values, digits: int) -> int:
        key = tuple(_short(value, digits) for value in values)
        if key not in known:
            known[key] = len(columns)
            columns.append(list(key))
        return known[key]

    drawn: list[dict[str, Any]] = []
    for plot in plots:
        if plot.empty:
            continue
        shown = msgspec.to_builtins(plot)
        shown["x"] = column(plot.x, 7)
        for line, made in zip(plot.lines, shown["lines"], strict=True):
            if len(line.values) != len(plot.x):
                raise ValueError(f"{plot.id}: {line.name!r} has {len(line.values)} values for {len(plot.x)} of x")
            made["values"] = column([value or None for value in line.values] if plot.log else line.values, 4)
        drawn.append(shown)
    # Only ASCII: that is safe of line separators, and of halves of characters that no encoding knows.
    text = json.dumps({"columns": columns, "plots": drawn}, separators=(",", ":"), allow_nan=False).encode()
    # `</script>` and `<!--` would end or escape the element whatever quotes they stand in.
    for raw, safe in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026")):
        text = text.replace(raw, safe)
    return text


def _short(value: float | None, digits: int) -> float | None:
    if value is None or isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) else short


def latencies(histograms: Sequence[Histogram], scale: float = 1e3) -> tuple[list[float], list[list[float | None]]]:
    """Return nines from 0 up and, for each histogram, the latency that this share did not exceed.

    A line ends where its last one stands: at ``log10(count)`` nines there is one left, the slowest.
    """
    counts = [histogram.count for histogram in histograms]
    most = math.log10(max([*counts, 1]))
    grid = [number / 25 for number in range(int(most * 25) + 1)]
    if most > grid[-1]:
        grid.append(most)
    lines = []
    for histogram, count in zip(histograms, counts, strict=True):
        values: list[float | None] = [None] * len(grid)
        if count:
            distribution = list(histogram.distribution())
            shares = [share for _, share in distribution]
            last = math.log10(count) + 1e-9
            for number, nines in enumerate(grid):
                if nines <= last:
                    wanted = 1 - 10**-nines if nines < last - 1e-6 else 1.0
                    values[number] = scale * distribution[min(bisect_left(shares, wanted), len(shares) - 1)][0]
        lines.append(values)
    return grid, lines


def cumulative(histograms: Sequence[Histogram], points: int = 240) -> tuple[list[float], list[list[float | None]]]:
    """Return seconds, evenly spaced as logarithms, and for each histogram the share (0 to 1) that took no longer."""
    distributions = [list(histogram.distribution()) for histogram in histograms]
    ends = [seconds for distribution in distributions for seconds, _ in distribution]
    if not ends:
        return [], [[] for _ in histograms]
    least, most = max(min(ends) / 1.1, 1e-4), max(2e-4, *ends) * 1.02
    step = (math.log(most) - math.log(least)) / (points - 1)
    grid = [math.exp(math.log(least) + number * step) for number in range(points)]
    lines: list[list[float | None]] = []
    for distribution in distributions:
        seconds = [end for end, _ in distribution]
        places = [bisect_right(seconds, moment) for moment in grid]
        lines.append([distribution[place - 1][1] if place else 0.0 for place in places] if distribution else [])
    return grid, [line or [None] * points for line in lines]
