"""Plots of how durations are distributed: of one run by its groups and faults, or of two runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from loadtest.histogram import Histogram
from loadtest.report.legend import p50_s, p99_ms
from loadtest.report.plots import Line, Plot, cumulative, latencies
from loadtest.results import Results

__all__ = ["Named", "distributions", "percentiles", "shares"]

Named = tuple[str, Histogram]
"""A line of a plot: its name, and what it is drawn from."""


def distributions(results: Results) -> list[Plot]:
    """Return the plots of delivery by percentile, and of re-admission and staleness by how long they took."""
    faults = [fault for fault in results.faults if fault.readmission.histogram]
    made = (
        percentiles(_by_group(results, "delivery")),
        shares(
            "readmission",
            "Re-admission",
            "Share of those that lost their stream to a fault and had one again, by the time since they lost it.",
            [(f"{fault.number} {fault.what}", Histogram(fault.readmission.histogram)) for fault in faults],
        ),
        shares(
            "staleness",
            "How long clients were behind",
            "Share of the times that a client was behind.",
            _by_group(results, "staleness"),
        ),
    )
    return [plot for plot in made if not plot.empty]


def _by_group(results: Results, part: Literal["delivery", "staleness"]) -> list[Named]:
    """Return the histograms of all clients and, if there are several groups, of each, as far as they have anything."""
    groups = results.groups if len(results.groups) > 1 else []
    pairs = [("all", getattr(results, part).histogram)]
    pairs += [(group.name, getattr(group, part).histogram) for group in groups]
    return [(name, Histogram(each)) for name, each in pairs if each]


def percentiles(deliveries: Sequence[Named]) -> Plot:
    """Return the plot of delivery by percentile."""
    grid, lines = latencies([histogram for _, histogram in deliveries])
    return Plot(
        id="percentiles",
        title="Delivery by percentile",
        about="How slow the slowest were: each step to the right leaves a tenth of them.",
        x=grid,
        x_unit="nines",
        unit="ms",
        log=True,
        lines=_lines(deliveries, lines, [p99_ms(histogram) for _, histogram in deliveries]),
        wide=True,
    )


def shares(id_: str, title: str, about: str, durations: Sequence[Named]) -> Plot:
    """Return a plot of the share that took no longer than so many seconds."""
    grid, lines = cumulative([histogram for _, histogram in durations])
    return Plot(
        id=id_,
        title=title,
        about=about,
        x=grid,
        x_unit="s",
        x_log=True,
        unit="share",
        lines=_lines(durations, lines, [p50_s(histogram) for _, histogram in durations]),
    )


def _lines(named: Sequence[Named], lines: Iterable[list[float | None]], told: Iterable[str]) -> list[Line]:
    return [
        Line(name, values, place, told=words)
        for place, ((name, _), values, words) in enumerate(zip(named, lines, told, strict=True))
    ]
