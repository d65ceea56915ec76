"""What happened in a run, in the few sentences that one would tell a colleague."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.report import figures
from loadtest.results import Results

__all__ = ["broken", "gist", "not_current", "unmarked"]


def gist(results: Results) -> list[str]:
    """Return sentences on broken streams, on whether clients know what they should, and on what an edge kept away."""
    if not results.streams.opened:
        return ["No stream was ever opened."] if results.streams.requests else []
    return [*_streams(results), *_versions(results), *_edge(results)]


def not_current(results: Results) -> str:
    """Return which groups the clients are of that were not current at the end; empty for a single group."""
    named = [f"{group.name} {figures.count(group.lost)}" for group in results.groups if group.lost]
    return ", ".join(named) if len(results.groups) > 1 else ""


def broken(results: Results) -> int:
    """Return how many streams that were there were lost otherwise than by a clean end."""
    return results.streams.lost.get("cut", 0) + results.streams.lost.get("silent", 0)


def unmarked(results: Results) -> str:
    """Return what else than faults makes curves dip: nothing, or nobody can say where streams broke without a fault."""
    if broken(results) > sum(fault.lost for fault in results.faults):
        return ""
    streams = results.streams
    return " and ".join(
        told for told, times in (("clean ends", streams.ended), ("clients that leave", streams.left)) if times
    )


def _streams(results: Results) -> Iterator[str]:
    streams, back = results.streams, results.readmission
    if number := broken(results):
        sentence = f"{_many(number, 'stream')} broke"
        if back.count:
            sentence += (
                f": half of those that came back did so within {figures.s(back.p50_s)}, 99 % within "
                f"{figures.s(back.p99_s)}, the last after {figures.s(back.max_s)}"
            )
        yield f"{sentence}."
    elif streams.ended:
        again = ""
        if results.gap.count:
            again = f", and 99 % of their clients were back within {figures.s(results.gap.p99_s)}"
        yield f"No stream broke; {figures.count(streams.ended)} were ended cleanly by the servers{again}."
    else:
        yield "No stream broke."
    if streams.gave_up:
        yield f"{_many(streams.gave_up, 'client')} never came back, as the SDK that they model has it."


def _versions(results: Results) -> Iterator[str]:
    if not results.publishing.planned and not results.delivery.count:
        yield "Nothing was published, so delivery and staleness were not measured."
        return
    if results.lost:
        named = not_current(results)
        yield f"{_many(results.lost, 'client')} had not the newest version at the end{f' ({named})' if named else ''}."
    wrong = [
        f"{_many(times, 'event')} {what}"
        for times, what in ((results.duplicates, "came twice"), (results.out_of_order, "came out of order"))
        if times
    ]
    if wrong:
        yield f"{' and '.join(wrong)}."
    elif not results.lost:
        yield "At the end everybody who still followed had the newest version; no event came twice or out of order."


def _edge(results: Results) -> Iterator[str]:
    requests = results.requests
    if requests.sent_to_edge and requests.edge_sent_on is not None:
        sent, sent_on = _many(requests.sent_to_edge, "request"), figures.count(requests.edge_sent_on)
        yield f"Of {sent} for streams to the edge it made {sent_on} to the origin{_held(results)}."
        return
    if requests.edge is None or requests.origin is None or not requests.sent:
        return
    sent, came = _many(requests.sent, "request"), figures.count(requests.origin)
    yield f"Of {sent} for streams {came} came to the origin{_held(results)}."


def _held(results: Results) -> str:
    if results.requests.origin_streams_peak is None:
        return ""
    most = _many(results.requests.origin_streams_peak, "stream")
    if any(group.via == "origin" for group in results.groups):
        return f"; with those of clients that came straight to it, it held at most {most}"
    return f", which held at most {most} for {figures.count(results.streams.peak)}"


def _many(number: int, noun: str) -> str:
    return f"{figures.count(number)} {noun}{'' if number == 1 else 's'}"
