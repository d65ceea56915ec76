"""Which plots over time a run has."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from loadtest.report.gist import unmarked
from loadtest.report.plots import Line, Mark, Plot, Values
from loadtest.report.thinning import thinned
from loadtest.results import Results

__all__ = ["curves", "marks"]

SYNC: Final = "run"
SEEN: Final = 1.35
"""How much longer than it took until all were back one looks at a fault, when one zooms to it."""
UNKNOWN: Final = 20.0
"""Seconds that one looks at a fault after which they never were all back, at least."""


def marks(results: Results) -> list[Mark]:
    """Return the faults of a run as marks."""
    made = []
    for place, fault in enumerate(results.faults):
        end = results.faults[place + 1].at_s if place + 1 < len(results.faults) else results.seconds
        if fault.all_back_s is not None:
            seen = max(fault.all_back_s * SEEN, 3.0)
        elif fault.readmission.max_s is not None:
            seen = max(fault.readmission.max_s * SEEN, 3.0)
        else:
            seen = UNKNOWN
        until = fault.at_s + seen
        if fault.at_s < end:
            until = min(until, max(end, fault.at_s + 3.0))
        made.append(Mark(fault.at_s, fault.what, fault.number, until))
    return made


def _line(
    name: str,
    values: Values,
    moments: int,
    hue: int | None = None,
    *,
    filled: bool = False,
    sparse: bool = False,
    quiet: bool = False,
) -> list[Line]:
    """Return a line where there is one: a run may not have had the series, and one that stayed 0 is none if `quiet`."""
    if len(values) != moments or not any(value if quiet else value is not None for value in values):
        return []
    return [Line(name, values, hue, filled=filled, sparse=sparse)]


def curves(results: Results) -> tuple[list[Plot], int]:
    """Return the plots over time, in the order of a page, and how many moments of the run each point stands for."""
    series, per = thinned(results.series)
    at, moments = series.at_s, len(series.at_s)
    faults = marks(results)

    step = (at[-1] - at[0]) / max(moments - 1, 1) if at else 0.0
    plot = partial(Plot, x=at, sync=SYNC, marks=faults)
    groups = series.open_by_group if len(series.open_by_group) > 1 else {}
    edge = results.requests.edge is not None or any(group.via == "edge" for group in results.groups)
    origin = _line("streams at the origin", series.origin_streams, moments, 1)
    made = [
        plot(
            id="open",
            title="Streams open",
            lines=[
                *_line("all", series.open, moments, 0, filled=True),
                *(line for place, name in enumerate(groups) for line in _line(name, groups[name], moments, place + 1)),
            ],
            about=_about_open(results, several=bool(groups)),
            wide=True,
        ),
        plot(
            id="rates",
            title="Opened and asked for",
            lines=[
                *_line("opened", series.opens_per_s, moments, 2),
                *(
                    msgspec.structs.replace(line, dashed=True)
                    for line in _line("requests", series.requests_per_s, moments, 0)
                ),
            ],
            about=f"A second, in each {step:.3g} s. Requests without a stream were turned away, or wait for an answer.",
            unit="per_s",
        ),
        plot(
            id="losses",
            title="Streams lost",
            lines=_line("lost", series.losses_per_s, moments, 1, filled=True, quiet=True),
            about=f"A second, in each {step:.3g} s, otherwise than by a clean end.",
            unit="per_s",
        ),
        plot(
            id="without",
            title="Clients without a stream",
            lines=[
                *_line("waiting to try again", series.waiting, moments, 5, quiet=True),
                *_line("connecting", series.connecting, moments, 0, quiet=True),
                *_line("gave up for good", series.gave_up, moments, 7, quiet=True),
            ],
            about="What their models do between two streams.",
        ),
        plot(
            id="behind",
            title="Clients behind the newest version",
            lines=_line("behind", series.behind, moments, 3, filled=True, quiet=True),
            about="Staleness: those without a stream count too.",
        ),
        plot(
            id="delivery",
            title="Delivery",
            lines=[
                *_line("p99", series.delivery_p99_ms, moments, 1, sparse=True),
                *_line("p50", series.delivery_p50_ms, moments, 0, sparse=True),
            ],
            about="From the publishing of a version to its event at a client, by moment.",
            unit="ms",
            log=True,
        ),
        plot(
            id="events",
            title="Events and fetches",
            lines=[
                *_line("events", series.events_per_s, moments, 0, quiet=True),
                *_line("fetches of flags", series.fetches_per_s, moments, 2, quiet=True),
            ],
            about="A second.",
            unit="per_s",
        ),
        plot(
            id="origin",
            title="At the origin, against clients",
            lines=[*_line("clients' streams", series.open, moments, 0), *origin] if origin and edge else [],
            about="What the origin holds for them. Behind an edge, one stream serves many.",
            log=10 * max((streams or 0 for streams in series.origin_streams), default=0) < max(series.open, default=0),
        ),
        plot(
            id="cpu",
            title="CPU",
            lines=[
                *(
                    line
                    for place, (name, cores) in enumerate(series.cpu.items())
                    for line in _line(name, cores, moments, place % 6)
                ),
                *_line("generator (busiest process)", series.generator_busy, moments, 7),
            ],
            about="Cores by program; of the generator the busiest process, which has one.",
            unit="cores",
        ),
        plot(
            id="rss",
            title="Memory",
            lines=[
                *(
                    line
                    for place, (name, size) in enumerate(series.rss.items())
                    for line in _line(name, size, moments, place % 6)
                ),
                *_line("generator", series.generator_rss, moments, 7),
            ],
            about="Resident, by program.",
            unit="bytes",
        ),
    ]
    return [each for each in made if not each.empty], per


def _about_open(results: Results, *, several: bool) -> str:
    sentences = ["All clients, and each group of them."] if several else []
    if dips := unmarked(results):
        sentences.append(f"Dips without a mark are {dips}; clients wait as their model has it.")
    return " ".join(sentences)
