"""Fairness: how long a small environment waits while a large one is being broadcast to."""

from __future__ import annotations

import random
import time

from benchmarks.histogram import Histogram
from benchmarks.results import Table
from benchmarks.rows.compare import OPENING
from benchmarks.rows.field import STANDARD, server, temporary
from benchmarks.servers_under_test import MIN_INTERVAL
from benchmarks.swarm import Swarm

__all__ = ["PER_WORKER", "fair", "workers_for"]

PER_WORKER = 18_500
"""Streams for each worker: connections spread over workers by chance, and each has a limit of open files (20,000)."""

SMALL = "small"
LARGE = "large"


def workers_for(streams: int) -> int:
    """Return how many workers hold `streams` under the usual limit of open files."""
    return max(-(-streams // PER_WORKER), 1)


def fair(
    *, streams: int = 50_000, small: int = 100, rounds: int = 30, workers: int = 0, server_name: str = "ours"
) -> Table:
    """Broadcast to a large environment and, during that, to a small one; compare with the small one alone."""
    workers = workers or workers_for(streams)
    faults: list[str] = []
    found: dict[str, Histogram] = {}
    with (
        temporary() as folder,
        server(server_name, folder, streams, workers=workers) as field,
        Swarm(field.server.port, small, folder, first=field.swarm.first_free) as little,
    ):
        few = little.open(field.server.path(SMALL), small)
        if not little.wait_open(few, 20).met:
            faults.append("the small environment's streams did not open")
        many = field.open(streams, OPENING * workers, key=LARGE)
        for case in ("alone", "while the large one is broadcasting"):
            little.report(few, clear=True)
            field.swarm.report(many, clear=True)
            for _ in range(rounds):
                large = field.server.announce(LARGE) if case != "alone" else 0
                # At any moment of the large broadcast, its very beginning included.
                time.sleep(random.uniform(0, streams * 5e-6))
                version = field.server.announce(SMALL)
                if not little.wait_holding(few, version, 20).met:
                    faults.append(f"{case}: streams of the small environment were not told")
                if large and not field.swarm.wait_holding(many, large, 60).met:
                    faults.append("streams of the large environment were not told")
                time.sleep(2 * MIN_INTERVAL)
            found[f"small, {case}"] = little.report(few).latency
        found["large"] = field.swarm.report(many).latency
    return Table(
        row="fair",
        title=f"A {small}-stream environment while another with {streams} streams is broadcasting",
        conditions={"streams": streams, "small": small, "workers": workers, "rounds": rounds, **STANDARD},
        columns=("environment", "p50 ms", "p99 ms", "last ms"),
        lines=[
            {
                "environment": name,
                "p50 ms": latency.percentile(0.5),
                "p99 ms": latency.percentile(0.99),
                "last ms": latency.worst,
            }
            for name, latency in found.items()
        ],
        target="the small one's p99 ≤ 50 ms",
        faults=faults,
    )
