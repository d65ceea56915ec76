"""The page of a plan: one HTML document that loads nothing from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from markupsafe import Markup

from loadtest.plan.against import Comparison
from loadtest.plan.outcome import Outcome, Point
from loadtest.plan.rows import money
from loadtest.plan.words import happens, takes
from loadtest.report.document import document
from loadtest.report.figures import count, s
from loadtest.report.plots import Line, Mark, Plot
from loadtest.report.templating import templates

__all__ = ["page"]

FOLDER: Final = Path(__file__).parent / "templates"


def page(outcome: Outcome, comparison: Comparison | None = None) -> bytes:
    """Return the HTML of an outcome, with what was measured beside what was predicted where it is known."""
    compared = _compared(comparison) if comparison else []
    over_time, costs = _over_time(outcome), [] if comparison else _costs(outcome)
    body = (
        templates(FOLDER)
        .get_template("plan.html")
        .render(
            outcome=outcome,
            notes=comparison.notes if comparison else outcome.notes,
            happens=[comparison.rows()] if comparison else happens(outcome),
            takes=[] if comparison else takes(outcome),
            compared=compared,
            over_time=over_time,
            costs=costs,
            tiles=_tiles(outcome, bill=comparison is None),
            provenance=[(name.replace("_", " "), str(value)) for name, value in outcome.provenance.items()],
        )
    )
    return document(outcome.title, Markup(body), [*compared, *over_time, *costs])  # noqa: S704 - a template's, which escapes


def _tiles(outcome: Outcome, *, bill: bool) -> list[tuple[str, str, str]]:
    worst = max((failure.back.p99_s or 0.0 for failure in outcome.failures), default=0.0)
    return [
        ("Clients", count(outcome.clients), f"{count(outcome.steady.open)} with a stream, on average"),
        (
            "Streams at the origin",
            count(outcome.steady.origin_streams_p50),
            f"most {count(outcome.steady.origin_streams_peak)}",
        ),
        ("Back, p99", s(worst) if outcome.failures else "–", "after the worst failure"),
        *(
            (
                {"direct": "Directly", "cdn": "By a CDN", "own edge": "By an own edge"}[costs.way],
                money(costs.total),
                f"a month; a million client-hours {money(costs.per_million_client_hours)}",
            )
            for costs in outcome.costs
            if bill
        ),
    ]


def _marks(outcome: Outcome) -> list[Mark]:
    ends = [*(failure.at_s for failure in outcome.failures[1:]), outcome.series.at_s[-1]]
    return [
        Mark(at=failure.at_s, name=failure.what, number=number, until=end)
        for number, (failure, end) in enumerate(zip(outcome.failures, ends, strict=True), 1)
    ]


def _over_time(outcome: Outcome) -> list[Plot]:
    series, marks = outcome.series, _marks(outcome)
    served = [all_ - held for all_, held in zip(series.open, series.in_waiting_room, strict=True)]
    return [
        Plot(
            id="opens",
            title="Requests and opens a second",
            x=series.at_s,
            unit="per_s",
            lines=[
                Line("requests of clients", series.requests_per_s),
                Line("opened", series.opens_per_s),
                Line("opened at the origin", series.origin_opens_per_s),
            ],
            sync="time",
            marks=marks,
            wide=True,
        ),
        Plot(
            id="clients",
            title="Where clients are",
            x=series.at_s,
            lines=[
                Line("with a stream of the origin's", served),
                Line("in the waiting room", series.in_waiting_room),
                Line("connecting", series.connecting),
                Line("waiting", series.waiting),
                Line("gave up", series.gave_up),
            ],
            sync="time",
            marks=marks,
        ),
        Plot(
            id="origin",
            title="Streams at the origin",
            x=series.at_s,
            lines=[Line("streams", series.origin_streams)],
            sync="time",
            marks=marks,
        ),
    ]


def _costs(outcome: Outcome) -> list[Plot]:
    sizes, lifetimes = outcome.by_clients, outcome.by_lifetime
    return [
        _priced("hourly", "Dollars for a million client-hours, by clients", sizes, hourly=True),
        _priced("monthly", "Dollars a month, by clients", sizes),
        _priced("lifetimes", "Dollars a month, by lifetime of streams", lifetimes),
    ]


def _priced(name: str, title: str, points: list[Point], *, hourly: bool = False) -> Plot:
    by_size = points[0].clients != points[-1].clients
    return Plot(
        id=name,
        title=title,
        x=[float(point.clients) if by_size else point.lifetime_s for point in points],
        x_unit="count" if by_size else "s",
        x_label="clients" if by_size else "lifetime",
        x_log=True,
        unit="usd",
        log=True,
        wide=hourly,
        lines=[
            Line(
                first.way,
                [point.ways[place].per_million_client_hours if hourly else point.ways[place].total for point in points],
            )
            for place, first in enumerate(points[0].ways)
        ],
    )


def _compared(comparison: Comparison) -> list[Plot]:
    marks = [Mark(at=at, name=what, number=number) for number, (at, what) in enumerate(comparison.faults, 1)]
    return [
        Plot(
            id=f"against-{curve.name}",
            title=curve.title,
            x=comparison.at_s,
            unit=curve.unit,
            lines=[Line("predicted", curve.predicted, dashed=True), Line("measured", curve.measured)],
            sync="against",
            wide=curve.name == "open",
            marks=marks,
        )
        for curve in comparison.curves
    ]
