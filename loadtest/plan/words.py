"""What a plan comes to, in rows of words: the same in a terminal and on a page."""

from __future__ import annotations

from loadtest.plan.assumptions import assumptions
from loadtest.plan.bill_words import bills
from loadtest.plan.outcome import Outcome
from loadtest.plan.rows import Rows, counted_as
from loadtest.report.figures import count, data_size, rate, s

__all__ = ["happens", "takes"]


def happens(outcome: Outcome) -> list[Rows]:
    """Return the tables of what was simulated."""
    return [_steady(outcome), *([_failures(outcome)] if outcome.failures else [])]


def takes(outcome: Outcome) -> list[Rows]:
    """Return the tables of what that takes and costs, and what was assumed."""
    return [*bills(outcome), _sizing(outcome), _documents(outcome), assumptions(outcome)]


def _steady(outcome: Outcome) -> Rows:
    steady = outcome.steady
    return Rows(
        f"{counted_as(outcome.clients, 'client', 'clients')}, "
        f"{counted_as(outcome.processes, 'stream-server process', 'stream-server processes')}",
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
        ],
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
                f"After a change, {counted_as(documents.clients, 'client', 'clients')}",
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
