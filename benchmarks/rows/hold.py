"""How many streams one machine holds: as many as are asked for or fit, then broadcasts to all of them."""

from __future__ import annotations

import time

from benchmarks.histogram import median
from benchmarks.machine import Kernel, kernel, memory
from benchmarks.results import Table
from benchmarks.rows.fair import workers_for
from benchmarks.rows.field import KEY, STANDARD, Contender, server, temporary
from benchmarks.swarm import Group, Report
from loadtest.machine import cpu_seconds

__all__ = ["hold"]

RESERVE = 1 << 30
"""Bytes that stay available: opening stops there, before the machine does."""

STANDSTILL = 15.0
"""Seconds without a new stream after which opening has stopped by itself."""

LOOK = 2.0


def hold(
    *,
    streams: int = 100_000,
    workers: int = 0,
    rounds: int = 3,
    seconds: float = 900.0,
    pace: int = 0,
    server_name: str = "ours",
) -> Table:
    """Open streams until all are open or something stops it, say what, and broadcast to them."""
    workers = workers or workers_for(streams)
    with temporary() as folder, server(server_name, folder, streams, workers=workers) as field:
        before = (memory(field.server.process.pids).rss, _own(field), kernel())
        began = time.monotonic()
        group, stopped = _fill(field, streams, seconds, pace)
        opening = time.monotonic() - began
        generating = cpu_seconds(field.swarm.pids)
        told = [field.broadcast(group, 120) for _ in range(rounds)]
        generating = cpu_seconds(field.swarm.pids) - generating
        reports = [report for report, _ in told]
        after = (memory(field.server.process.pids).rss, _own(field), kernel())
        faults = [*field.missing, *_lost(field, group)]
    held = max(group.streams, 1)
    if stopped:
        faults.append(stopped)
    line = {
        "streams held": held,
        "opened a second": held / opening,
        "p50 ms": _middle(reports, 0.5),
        "p99 ms": _middle(reports, 0.99),
        "last ms": _middle(reports, 1.0),
        "server CPU µs per delivery": median(used for _, used in told) / held * 1e6,
        "load generator's": generating / rounds / held * 1e6,
        "server RSS MiB": after[0] / 2**20,
        "RSS KiB per stream": (after[0] - before[0]) / held / 1024,
        "load generator RSS MiB": after[1] / 2**20,
        "kernel KiB per stream, both ends": _kernel_growth(before[2], after[2]) / held / 1024,
        "still available MiB": after[2].available / 2**20,
    }
    return Table(
        row="hold",
        title=f"{held} streams held on one machine, load generator included, and broadcasts to all of them",
        conditions={"asked_for": streams, "workers": workers, "rounds": rounds, **STANDARD},
        columns=tuple(line),
        lines=[line],
        target="100,000 streams: p99 ≤ 1.5 s, generator included; then 1,000,000 held",
        faults=faults,
    )


def _fill(field: Contender, streams: int, seconds: float, pace: int) -> tuple[Group, str]:
    """Open `streams` or as many as can be; return those that are open, and what stopped it, if anything did."""
    options = {"pace": pace} if pace else {}
    group = field.swarm.open(field.server.path(KEY), streams, **options)
    deadline = time.monotonic() + seconds
    most, moved = -1, time.monotonic()
    while True:
        report = field.swarm.wait_open(group, LOOK)
        if report.met:
            return group, ""
        if report.open > most:
            most, moved = report.open, time.monotonic()
        if kernel().available < RESERVE:
            stopped = f"opening stopped at {report.open}: less than {RESERVE >> 20} MiB of memory were left"
        elif time.monotonic() > deadline:
            stopped = f"opening stopped at {report.open}: {seconds:g} s were over"
        elif time.monotonic() - moved > STANDSTILL:
            stopped = (
                f"opening stopped by itself at {report.open}: "
                f"{report.failed} attempts failed, {report.refused} were refused, {report.cut} streams were cut"
            )
        else:
            continue
        return field.swarm.halt(group), stopped


def _own(field: Contender) -> int:
    return memory(field.swarm.pids).rss


def _kernel_growth(before: Kernel, after: Kernel) -> int:
    """Return the bytes of sockets and their buffers; pages of processes are not in these figures."""
    return after.slab - before.slab + after.tcp_buffers - before.tcp_buffers


def _lost(field: Contender, group: Group) -> list[str]:
    report = field.swarm.report(group)
    lost = report.cut + report.ended
    return [f"{lost} streams ended while they were to be held"] if lost else []


def _middle(reports: list[Report], share: float) -> float:
    return median(report.latency.percentile(share) for report in reports)
