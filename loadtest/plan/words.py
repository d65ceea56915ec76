"""What a plan comes to, in rows of words: the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.plan.outcome import Outcome
from loadtest.report.figures import NONE, count, data_size, rate, s

__all__ = ["Rows", "money", "tables"]


@dataclass(frozen=True, slots=True)
class Rows:
    """One table; the first column names, the others are figures."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    about: str = ""


def money(dollars: float | None) -> str:
    """Return dollars: ``$1,234``; below ten with cents."""
    if dollars is None:
        return NONE
    return f"${dollars:,.2f}" if abs(dollars) < 10 else f"${dollars:,.0f}"  # noqa: PLR2004 - where cents stop to count


def tables(outcome: Outcome) -> list[Rows]:
    """Return all tables of an outcome, in the order in which one asks."""
    return [_steady(outcome), _failures(outcome), _documents(outcome), _sizing(outcome), _costs(outcome)]


def _steady(outcome: Outcome) -> Rows:
    steady = outcome.steady
    return Rows(
        f"{count(outcome.clients)} clients, {count(outcome.processes)} stream-server processes",
        ("", "mean or median", "peak"),
        [
            ("Streams open", count(steady.open), ""),
            ("Opened by clients", rate(steady.opens_per_s), rate(steady.opens_per_s_peak)),
            ("Opened at the origin", rate(steady.origin_opens_per_s), rate(steady.origin_opens_per_s_peak)),
            ("Streams at the origin", count(steady.origin_streams_p50), count(steady.origin_streams_peak)),
            ("Sent to clients", f"{data_size(outcome.bandwidth.clients)}/s", ""),
            ("Sent by the origin", f"{data_size(outcome.bandwidth.origin)}/s", ""),
        ],
        f"Steady state, from {s(steady.since_s)} to {s(steady.until_s)} of the simulation.",
    )


def _failures(outcome: Outcome) -> Rows:
    failures = outcome.failures
    return Rows(
        "Failures",
        ("", *(f"{failure.what}, at {s(failure.at_s)}" for failure in failures)),
        [
            ("Clients cut", *(count(failure.cut) for failure in failures)),
            ("… that give up for good", *(count(failure.gave_up) for failure in failures)),
            ("50 % back after", *(s(failure.back.p50_s) for failure in failures)),
            ("99 % back after", *(s(failure.back.p99_s) for failure in failures)),
            ("The last after", *(s(failure.back.max_s) for failure in failures)),
            ("Not back by the end", *(count(failure.not_back) for failure in failures)),
            ("Requests, at most", *(rate(failure.requests_per_s_peak) for failure in failures)),
            ("Opened by clients, at most", *(rate(failure.opens_per_s_peak) for failure in failures)),
            ("Opened at the origin, at most", *(rate(failure.origin_opens_per_s_peak) for failure in failures)),
        ]
        if failures
        else [],
        "Back: on a stream of the origin's again, a waiting room's does not count. Who gives up does so by his model, "
        "until the app is started anew.",
    )


def _documents(outcome: Outcome) -> Rows:
    documents = outcome.documents
    return Rows(
        "Flags fetched",
        ("", "at the edge", "at the origin"),
        [
            ("Always", rate(documents.edge_per_s), rate(documents.origin_per_s)),
            (
                f"After a change, {count(documents.clients)} clients",
                count(documents.edge_requests),
                count(documents.origin_requests),
            ),
            ("… in the first second", rate(documents.edge_per_s_peak), rate(documents.origin_per_s_peak)),
        ],
        "The change is to the largest environment.",
    )


def _sizing(outcome: Outcome) -> Rows:
    ways = list(outcome.sizing.items())
    return Rows(
        "Stream servers needed",
        ("", *({"direct": "directly", "through": "behind the edge"}[way] for way, _ in ways)),
        [
            ("Streams, at most", *(count(size.streams) for _, size in ways)),
            ("Processes by open files", *(count(size.processes_by_descriptors) for _, size in ways)),
            ("Memory", *(data_size(size.gib * 2**30) for _, size in ways)),
            ("Cores, always", *(f"{size.cores_steady:.2f}" for _, size in ways)),
            ("Cores to tell a change in time", *(f"{size.cores_by_delivery:.2f}" for _, size in ways)),
            ("Cores to open all in time", *(f"{size.cores_by_storm:.2f}" for _, size in ways)),
            ("Processes", *(count(size.processes) for _, size in ways)),
            ("Machines", *(count(size.machines) for _, size in ways)),
            *(
                [("Machines of the edge", *(count(size.edge_machines) for _, size in ways))]
                if any(size.edge_machines for _, size in ways)
                else []
            ),
        ],
    )


def _costs(outcome: Outcome) -> Rows:
    ranges = outcome.through_is_cheaper
    if len(outcome.costs) == 1:
        about = ""
    elif outcome.break_even_clients is not None:
        about = f"At these prices the edge costs less from {count(outcome.break_even_clients)} clients on."
    elif ranges:
        between = ", ".join(f"{count(begin)} to {count(end)}" for begin, end in ranges)
        about = f"At these prices the edge costs less with {between} clients, and more beyond."
    else:
        about = "At these prices the edge costs more than going directly, for any number of clients up to 10⁹."
    return Rows(
        "A month",
        ("", "machines", "egress", "CDN traffic", "CDN requests", "in all", "a million client-hours"),
        [
            (
                costs.way,
                *map(
                    money,
                    (costs.machines, costs.egress, costs.cdn_traffic, costs.cdn_requests, costs.total),
                ),
                money(costs.per_million_client_hours),
            )
            for costs in outcome.costs
        ],
        about,
    )
