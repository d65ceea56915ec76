"""A storm: every stream goes at once, and all are back and hold a version that was announced meanwhile."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.histogram import Histogram, median
from benchmarks.results import Table
from benchmarks.rows.compare import OPENING
from benchmarks.rows.field import KEY, STANDARD, contenders

__all__ = ["storm"]


def storm(
    *,
    streams: int = 15_000,
    rounds: int = 3,
    servers: Sequence[str] = ("ours", "floor", "nchan"),
    at_once: int = 1000,
    seconds: float = 60.0,
) -> Table:
    """Close all streams at once and measure until all are back and hold a version announced in between."""
    times: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    opening: dict[str, Histogram] = {}
    with contenders(servers, streams) as (running, faults):
        groups = {each.name: each.open(streams, OPENING) for each in running}
        for _ in range(rounds):
            for each in running:
                group = groups[each.name]
                each.broadcast(group)
                each.swarm.report(group, clear=True)
                before = each.server.process.cpu()
                began = each.swarm.storm(at_once)
                version = each.server.announce(KEY)
                report = each.swarm.wait_holding(group, version, seconds)
                if not report.met:
                    faults.append(f"{each.name}: {streams - report.holding} streams were not back after {seconds:g} s")
                times.setdefault(each.name, []).append((report.last_raised - began) / 1e6)
                used.setdefault(each.name, []).append(each.server.process.cpu() - before)
                opening[each.name] = opening.get(each.name, Histogram()) + report.opening
                if report.failed or report.refused:
                    faults.append(f"{each.name}: {report.failed} attempts failed, {report.refused} were refused")
                time.sleep(0.5)
        faults += [fault for each in running for fault in each.missing]
    lines = [
        {
            "server": name,
            "all back s": median(values),
            "worst s": max(values),
            "CPU s": median(used[name]),
            "request to headers p50 ms": opening[name].percentile(0.5),
            "p99 ms": opening[name].percentile(0.99),
        }
        for name, values in times.items()
    ]
    return Table(
        row="storm",
        title="All streams close at once, reconnect at once, and hold the newest version (medians of the rounds)",
        conditions={"streams": streams, "rounds": rounds, "handshakes_at_once": at_once, **STANDARD},
        columns=("server", "all back s", "worst s", "CPU s", "request to headers p50 ms", "p99 ms"),
        lines=lines,
        target="≤ 4 s on one worker",
        series=times,
        faults=faults,
    )
