"""Churn: streams that open and close without end leave nothing behind."""

from __future__ import annotations

import time

from benchmarks.machine import memory
from benchmarks.metrics import figure
from benchmarks.results import Table
from benchmarks.rows.field import KEY, STANDARD, server, temporary
from benchmarks.servers_under_test import Server

__all__ = ["churn"]

DRIFT = 0.05


def churn(*, opens: int = 1_000_000, at_once: int = 500, seconds: float = 900.0, server_name: str = "ours") -> Table:
    """Open and close `opens` streams, `at_once` at a time, and compare memory: after a twentieth, and at the end."""
    faults: list[str] = []
    first = max(opens // 20, at_once)
    with temporary() as folder, server(server_name, folder, 3 * at_once) as field:
        pids, path = field.server.process.pids, field.server.path(KEY)
        field.server.announce(KEY)
        counts = []
        series = []
        began = time.monotonic()
        for total in (first, opens):
            group = field.swarm.open(path, at_once, churn=total, at_once=at_once)
            deadline = began + seconds
            while True:
                report = field.swarm.wait_opened(group, min(5.0, seconds), streams=total)
                series.append({"s": time.monotonic() - began, "opens": report.opened, "rss": memory(pids).rss})
                if report.met or time.monotonic() > deadline:
                    break
            if not report.met:
                faults.append(f"{report.opened} of {total} streams were opened in {seconds:g} s")
            if report.failed or report.refused:
                faults.append(f"{report.failed} attempts failed, {report.refused} were refused")
            field.swarm.close_group(field.swarm.halt(group))
            left = _left_open(field.server)
            counts.append((report.opened, memory(pids).rss, time.monotonic() - began))
            if left:
                faults.append(f"{left} streams count as open after all have left")
    (_, before, start), (opened, after, end) = counts
    drift = after / before - 1
    if drift > DRIFT:
        faults.append(f"RSS grew by {drift:.1%}")
    line = {
        "streams opened and closed": opened,
        "a second": opened / (end - start),
        "RSS MiB before": before / 2**20,
        "RSS MiB after": after / 2**20,
        "drift": f"{drift:+.1%}",
        "streams left": left,
    }
    return Table(
        row="churn",
        title=f"Streams opened and closed, {at_once} at a time; before: after the first {first}",
        conditions={"opens": opens, "at_once": at_once, **STANDARD},
        columns=tuple(line),
        lines=[line],
        target="RSS within 5 %, no stream left",
        series={"rss": series},
        faults=faults,
    )


def _left_open(running: Server) -> int:
    """Return the streams that a server counts as open, after it had time to notice that all have left."""
    if not running.name.startswith("ours"):
        return 0  # the references count nothing
    left = -1
    for _ in range(50):
        left = figure(running.port, "flagstream_streams_open")
        if left == 0:
            break
        time.sleep(0.1)
    return left
