"""The ways in of a run side by side: straight to the origin against through an edge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from loadtest.histogram import Histogram, Pairs
from loadtest.report import figures
from loadtest.results import GroupResults, Results

__all__ = ["ways"]

NAMES: Final = {"origin": "direct"}

Row = tuple[str, list[str]]


def ways(results: Results) -> tuple[list[str], list[Row]]:
    """Return the names of the ways in and rows of figures, one of each way; nothing where there is only one way.

    Percentiles are those of all groups of a way together.
    """
    by_way: dict[str, list[GroupResults]] = {}
    for group in results.groups:
        by_way.setdefault(group.via, []).append(group)
    if len(by_way) < 2:  # noqa: PLR2004 - one way has nothing beside it
        return [], []
    parts = list(by_way.values())
    rows = [
        ("Clients", [figures.count(sum(group.streams.clients for group in groups)) for groups in parts]),
        ("Streams opened", [figures.count(sum(group.streams.opened for group in groups)) for groups in parts]),
        ("Requests for streams", [figures.count(_sent(groups)) for groups in parts]),
        *_at_origin(results, by_way),
        *_times("Delivery", [_merged(group.delivery.histogram for group in groups) for groups in parts]),
        *_times("Stream answered", [_merged(group.opening.histogram for group in groups) for groups in parts]),
        *_times("Back after a clean end", [_merged(group.gap.histogram for group in groups) for groups in parts]),
        *_times("Re-admission", [_merged(group.readmission.histogram for group in groups) for groups in parts]),
        *_times("Behind for", [_merged(group.staleness.histogram for group in groups) for groups in parts]),
    ]
    return [NAMES.get(way, way) for way in by_way], rows


def _at_origin(results: Results, by_way: dict[str, list[GroupResults]]) -> list[Row]:
    """Return what of each way came to the origin: all that went there directly, and the rest through the edge."""
    rows: list[Row] = []
    direct = by_way.get("origin", [])
    if set(by_way) != {"origin", "edge"}:
        return rows
    for name, whole, own in (
        ("Of these, at the origin", results.requests.origin, _sent(direct)),
        (
            "Streams at the origin, most",
            results.requests.origin_streams_peak,
            sum(group.streams.peak for group in direct),
        ),
    ):
        if whole is not None:
            through = figures.count(max(0, whole - own))
            rows.append((name, [figures.count(min(own, whole)) if way == "origin" else through for way in by_way]))
    return rows


def _sent(groups: Sequence[GroupResults]) -> int:
    return sum(group.streams.requests for group in groups)


def _merged(several: Iterable[Pairs]) -> Histogram:
    whole = Histogram()
    for pairs in several:
        whole.add(Histogram(pairs))
    return whole


def _times(name: str, several: Sequence[Histogram]) -> list[Row]:
    if not any(histogram.count for histogram in several):
        return []
    told = [
        [figures.s(histogram.percentile(share)).replace(" ", "\N{NO-BREAK SPACE}") for share in (0.5, 0.99, 1.0)]
        for histogram in several
    ]
    return [(f"{name}: p50 · p99 · slowest", [" · ".join(each) for each in told])]
