"""Accelerated soak: lifetimes of 2 s and continuous publishing, so that half an hour is days of an ordinary server."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.histogram import median
from benchmarks.machine import memory
from benchmarks.results import Table
from benchmarks.rows.compare import OPENING
from benchmarks.rows.field import KEY, Contender, server, temporary
from benchmarks.swarm import Group, Report

__all__ = ["soak"]

LIFETIME = 2.0
EVERY = 0.1
"""Seconds between two versions."""

AGAIN = 500
"""Milliseconds at most, at random, between a stream's end and the next."""

CONVERGENCE = 10.0
DRIFT = 0.05


def soak(*, streams: int = 2000, seconds: float = 1800.0, period: float = 10.0, server_name: str = "ours") -> Table:
    """Publish without a pause to streams that live 2 s; at the end of each period every client must be up to date."""
    faults: list[str] = []
    points: list[dict[str, float]] = []
    settings = {"lifetime": LIFETIME, "join_window": 0, "heartbeat": 1}
    with temporary() as folder, server(server_name, folder, streams, settings=settings) as field:
        group = field.open(streams, OPENING, again_min=0, again_max=AGAIN)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            report, converged, cpu = _period(field, group, min(period, seconds - passed))
            points.append(
                {
                    "s": time.monotonic() - began,
                    "rss": memory(field.server.process.pids).rss,
                    "p50_ms": report.latency.percentile(0.5),
                    "p99_ms": report.latency.percentile(0.99),
                    "converged_s": converged,
                    "cpu": cpu,
                }
            )
            if not report.met:
                faults.append(f"after {passed:.0f} s: {streams - report.reached} clients were not told")
        report = field.swarm.report(group)
    wrong = {"cut": report.cut, "failed": report.failed, "refused": report.refused}
    wrong |= {"backwards": report.backwards, "stale": report.stale}
    faults += [f"{count} {name}" for name, count in wrong.items() if count]
    conditions = {"clients": streams, "seconds": seconds, "lifetime_s": LIFETIME, "heartbeat_s": 1}
    lines = [
        {"part": part, **{name: median(point[name] for point in some) for name in ("p50_ms", "p99_ms", "converged_s")}}
        | {"RSS MiB": median(point["rss"] for point in some) / 2**20, "CPU share": median(p["cpu"] for p in some)}
        for part, some in _quarters(points)
    ]
    if len(points) >= 8 and (grown := points[-1]["rss"] / points[len(points) // 8]["rss"] - 1) > DRIFT:
        faults.append(f"RSS grew by {grown:.1%}")
    return Table(
        row="soak",
        title=f"{report.opened} streams of {LIFETIME:g} s, {streams} clients, one version each {EVERY:g} s",
        conditions=conditions | {"clean_ends": report.ended},
        columns=("part", "p50_ms", "p99_ms", "converged_s", "RSS MiB", "CPU share"),
        lines=lines,
        target="every client always converges; no drift in RSS or latency",
        series={"points": points},
        faults=faults,
    )


def _period(field: Contender, group: Group, seconds: float) -> tuple[Report, float, float]:
    """Publish for `seconds`; return the report, how long the last version took to reach all, and the share of CPU."""
    field.swarm.report(group, clear=True)
    began, used = time.monotonic(), field.server.process.cpu()
    while time.monotonic() - began < seconds:
        field.server.announce(KEY)
        time.sleep(EVERY)
    version = field.server.announce(KEY)
    report = field.swarm.wait_reached(group, version, CONVERGENCE)
    share = (field.server.process.cpu() - used) / (time.monotonic() - began)
    return report, max(report.last_reached - version, 0) / 1e6, share


def _quarters(points: Sequence[dict[str, float]]) -> list[tuple[str, Sequence[dict[str, float]]]]:
    """Return the first and the last quarter, and the whole."""
    quarter = max(len(points) // 4, 1)
    return [("first quarter", points[:quarter]), ("last quarter", points[-quarter:]), ("whole", points)]
