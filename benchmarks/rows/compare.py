"""What one stream costs: CPU for a delivery, memory while it is open, CPU to open it; ours against the references.

Servers take turns within a run, because absolute figures differ from minute to minute and ratios do not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.histogram import Histogram, median
from benchmarks.machine import memory
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import STANDARD, Contender, contenders, server, temporary
from benchmarks.servers_under_test import ALL, NotInstalledError

__all__ = ["deliver", "memory_of_streams", "open_streams"]

OPENING = 120.0
"""Seconds that opening all streams may take."""


def deliver(*, streams: int = 15_000, rounds: int = 10, servers: Sequence[str] = ALL) -> Table:
    """Measure CPU and latency of a broadcast: in each round every server broadcasts once, one after the other."""
    used: dict[str, list[float]] = {}
    latencies: dict[str, list[Histogram]] = {}
    with contenders(servers, streams) as (running, faults):
        groups = {each.name: each.open(streams, OPENING) for each in running}
        for number in range(rounds + 1):
            for each in running:
                report, seconds = each.broadcast(groups[each.name])
                if number:  # the first only warms up
                    used.setdefault(each.name, []).append(seconds / streams * 1e6)
                    latencies.setdefault(each.name, []).append(report.latency)
        faults += [fault for each in running for fault in each.missing]
    lines = [
        {
            "server": name,
            "CPU µs per delivery": median(values),
            **{f"÷ {other}": _ratio(values, used.get(other)) for other in ("floor", "nchan")},
            "p50 ms": median(each.percentile(0.5) for each in latencies[name]),
            "p99 ms": median(each.percentile(0.99) for each in latencies[name]),
            "last ms": median(each.worst for each in latencies[name]),
        }
        for name, values in used.items()
    ]
    return Table(
        row="deliver",
        title="CPU for each delivery of a broadcast to all streams, and when it arrived (medians of the rounds)",
        conditions={"streams": streams, "rounds": rounds, **STANDARD},
        columns=("server", "CPU µs per delivery", "÷ floor", "÷ nchan", "p50 ms", "p99 ms", "last ms"),
        lines=lines,
        target="÷ floor ≤ 1.4 (stretch 1.15), ÷ nchan ≤ 0.7",
        series=used,
        faults=faults,
    )


def open_streams(*, streams: int = 15_000, rounds: int = 3, servers: Sequence[str] = ALL) -> Table:
    """Measure the CPU to open a stream: in each round every server gets its share of `streams`, then they close."""
    share = max(streams // rounds, 1)
    used: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    with contenders(servers, share * rounds) as (running, faults):
        for _ in range(rounds):
            for each in running:
                before, began = each.server.process.cpu(), time.perf_counter()
                group = each.open(share, OPENING)
                times.setdefault(each.name, []).append(share / (time.perf_counter() - began))
                used.setdefault(each.name, []).append((each.server.process.cpu() - before) / share * 1e6)
                each.swarm.close_group(group)
                time.sleep(0.3 + share / 10_000)  # the server notices its closed streams before the next one's turn
    lines = [
        {
            "server": name,
            "CPU µs per stream opened": median(values),
            **{f"÷ {other}": _ratio(values, used.get(other)) for other in ("floor", "nchan")},
            "opened a second": median(times[name]),
        }
        for name, values in used.items()
    ]
    return Table(
        row="open",
        title="CPU for each stream opened: handshake, request, headers, first block (medians of the rounds)",
        conditions={"streams_a_round": share, "rounds": rounds, **STANDARD},
        columns=("server", "CPU µs per stream opened", "÷ floor", "÷ nchan", "opened a second"),
        lines=lines,
        target="≤ 130 µs (stretch 60)",
        series=used,
        faults=faults,
    )


def memory_of_streams(*, streams: int = 15_000, rounds: int = 1, servers: Sequence[str] = ALL) -> Table:
    """Measure the memory of open streams; each server runs alone and anew in each round."""
    found: dict[str, list[dict[str, float]]] = {}
    faults: list[str] = []
    for _ in range(rounds):
        for name in servers:
            try:
                with temporary() as folder, server(name, folder, streams) as contender:
                    found.setdefault(name, []).append(_memory(contender, streams))
            except (NotInstalledError, EndedError) as error:
                faults.append(str(error))
    columns = ("RSS KiB per stream", "PSS KiB per stream", "KiB per further stream", "RSS MiB before")
    lines = [
        {"server": name, **{column: median(each[column] for each in values) for column in columns}}
        for name, values in found.items()
    ]
    return Table(
        row="memory",
        title="Memory of a server process for each open stream, after two broadcasts",
        conditions={"streams": streams, "rounds": rounds, **STANDARD},
        columns=("server", *columns),
        lines=lines,
        target="≤ 2.5 KiB (stretch 1.5)",
        faults=faults,
    )


def _memory(contender: Contender, streams: int) -> dict[str, float]:
    """Return the growth of memory a stream, in all and from a third of the streams to all of them.

    The second leaves out what a server allocates once, and what it had allocated before and uses again.
    """
    pids = contender.server.process.pids
    third = streams // 3
    points = [memory(pids)]
    for more in (third, streams - third):
        group = contender.open(more, OPENING)
        for _ in range(2):
            contender.broadcast(group)
        points.append(memory(pids))
    before, part, after = points
    return {
        "RSS KiB per stream": (after.rss - before.rss) / streams / 1024,
        "PSS KiB per stream": (after.pss - before.pss) / streams / 1024,
        "KiB per further stream": (after.rss - part.rss) / (streams - third) / 1024,
        "RSS MiB before": before.rss / 2**20,
    }


def _ratio(values: Sequence[float], others: Sequence[float] | None) -> float | str:
    """Return the median of the ratios of each round: what disturbed a round disturbed both."""
    if not others:
        return "–"
    return median(mine / theirs for mine, theirs in zip(values, others, strict=True))
