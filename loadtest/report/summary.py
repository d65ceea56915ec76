"""What is printed when a run is over: the verdict, and the figures that one asks for first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadtest.report import figures
from loadtest.report.faults import all_back
from loadtest.report.notices import notices
from loadtest.report.words import printable
from loadtest.results import Results

__all__ = ["summary"]


def summary(results: Results) -> RenderableType:
    """Return it for a terminal; where it is piped, it is plain text."""
    parts: list[RenderableType] = [Text(), Text(printable(results.title or results.name), "bold")]
    if results.streams.requests or results.streams.clients:
        parts.append(_figures(results))
    if results.faults:
        parts += [Text(), _faults(results)]
        parts += [
            Text(f"Fault {fault.number} could not be done: {printable(fault.error)}", "yellow")
            for fault in results.faults
            if fault.error
        ]
    if len(results.groups) > 1:
        parts += [Text(), _groups(results)]
    parts += _errors(results)
    parts += _notices(results)
    if results.thresholds:
        parts += [Text(), _thresholds(results)]
    style = {"passed": "bold green", "failed": "bold red", "interrupted": "bold yellow"}[results.verdict]
    parts += [Text(), Text(results.verdict.capitalize(), style)]
    parts += [_indented(Text(printable(reason))) for reason in results.reasons]
    return Group(*parts)


def _errors(results: Results) -> list[RenderableType]:
    """Return a line of what clients met with, and one of what the publisher answered."""
    lines = []
    for where, errors in (("Errors", results.errors), ("Publishing", results.publishing.errors)):
        if errors:
            worst = sorted(errors.items(), key=lambda error: -error[1])
            told = ", ".join(f"{printable(what, 60)} {figures.count(times)}" for what, times in worst)
            lines.append(Text.assemble((f"{where}: ", "dim"), told))
    return [Text(), *lines] if lines else []


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2), expand=False)


def _notices(results: Results) -> list[RenderableType]:
    """Return the warnings: what spoils figures is loud, cores that were shared are a note."""
    told = notices(results)
    parts: list[RenderableType] = []
    if results.generator.was_the_limit:
        limit = "The generator was the limit: some figures may be the load test's own and not the server's."
        parts.append(Text(limit, "bold yellow"))
    parts += [_indented(Text(printable(warning), "yellow")) for warning in told.limit]
    parts += [Text(f"Warning: {printable(warning)}", "yellow") for warning in told.others]
    parts += [Text(f"Note: {printable(note)}", "dim") for note in told.shared]
    return [Text(), *parts] if parts else []


def _figures(results: Results) -> Table:
    table = _table(("", "left"), ("p50", "right"), ("p99", "right"), ("most", "right"), ("", "left"))
    streams, delivery, staleness = results.streams, results.delivery, results.staleness
    table.add_row(
        "delivery",
        *(figures.ms(value) for value in (delivery.p50_ms, delivery.p99_ms, delivery.max_ms)),
        f"{figures.count(delivery.count)} deliveries",
    )
    again = (
        ("re-admission", results.readmission, f"{figures.count(results.readmission.count)} lost and back")
        if results.readmission.count or not results.gap.count
        else ("after clean end", results.gap, f"{figures.count(results.gap.count)} back")
    )
    for name, part, told in (
        again,
        ("behind for", staleness, f"most at once {figures.count(staleness.behind_peak)}"),
        ("stream answered", results.opening, f"most a second {figures.count(streams.opens_per_s_peak)}"),
    ):
        table.add_row(name, *(figures.s(value) for value in (part.p50_s, part.p99_s, part.max_s)), told)
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(style="dim")
    rows.add_column()
    rows.add_row(
        "streams",
        f"{figures.count(streams.peak)} at once, {figures.count(streams.opened)} opened by "
        f"{figures.count(streams.requests)} requests, {figures.count(streams.gave_up)} gave up",
    )
    rows.add_row(
        "versions",
        f"{figures.count(results.lost)} lost, {figures.count(results.duplicates)} duplicates, "
        f"{figures.count(results.out_of_order)} out of order",
    )
    if dropped := results.fetches.events_dropped:
        rows.add_row(
            "fetches", f"{figures.count(dropped)} event{'s' * (dropped != 1)} dropped by clients that were fetching"
        )
    if error := results.delivery.clock_error_ms:
        rows.add_row("clocks", f"of other hosts may be wrong by {figures.ms(error)}")
    requests = results.requests
    if requests.sent_to_edge and requests.edge_sent_on is not None:
        through = f"{figures.count(requests.edge_sent_on)} for {figures.count(requests.sent_to_edge)}"
        rows.add_row("edge", f"{through} requests for streams were sent on to the origin")
    elif requests.edge is not None:
        through = f"{figures.count(requests.origin)} of {figures.count(requests.sent)}"
        rows.add_row("edge", f"{through} requests for streams came to the origin")
    outer = Table.grid()
    outer.add_row(rows)
    outer.add_row(Text())
    outer.add_row(table)
    return outer


def _faults(results: Results) -> Table:
    table = _table(
        *(("fault", "left"), ("at", "right"), ("lost", "right"), ("back p50", "right"), ("p99", "right")),
        *(("most", "right"), ("all back after", "right")),
    )
    for fault in results.faults:
        back = fault.readmission
        table.add_row(
            Text(printable(f"{fault.number}: {fault.what}"), overflow="fold"),
            figures.s(fault.at_s),
            figures.count(fault.lost),
            *(figures.s(value) for value in (back.p50_s, back.p99_s, back.max_s)),
            all_back(results, fault),
        )
    return table


def _groups(results: Results) -> Table:
    lost = results.readmission.count or not results.gap.count
    table = _table(
        *(("clients", "left"), ("via", "left"), ("most", "right"), ("delivery p50", "right"), ("p99", "right")),
        *(("back p50" if lost else "clean end p50", "right"), ("p99", "right")),
    )
    for group in results.groups:
        again = group.readmission if lost else group.gap
        table.add_row(
            Text(printable(group.name, 40), overflow="fold"),
            Text(printable(group.via, 20)),
            figures.count(group.streams.peak),
            figures.ms(group.delivery.p50_ms),
            figures.ms(group.delivery.p99_ms),
            figures.s(again.p50_s),
            figures.s(again.p99_s),
        )
    return table


def _thresholds(results: Results) -> Table:
    table = _table(("", "left"), ("threshold", "left"), ("", "left"), ("measured", "right"))
    for threshold in results.thresholds:
        table.add_row(
            Text("held" if threshold.passed else "FAILED", "green" if threshold.passed else "bold red"),
            Text(printable(threshold.figure, 60), overflow="fold"),
            Text(printable(threshold.condition, 60), overflow="fold"),
            figures.plain(threshold.value),
        )
    return table


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    made: Sequence[tuple[str, str]] = columns
    for name, side in made:
        table.add_column(name, justify="right" if side == "right" else "left")
    return table
