"""A worker that is killed: every stream is cut, its successor takes them back, and all hold the newest version."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.histogram import median
from benchmarks.results import Table
from benchmarks.rows.compare import OPENING
from benchmarks.rows.field import KEY, STANDARD, server, temporary

__all__ = ["restart"]

STEADY = 11.0
"""Seconds between two kills: a worker that dies within 10 s is started again later and later."""


def restart(
    *,
    streams: int = 15_000,
    rounds: int = 3,
    at_once: int = 1000,
    seconds: float = 60.0,
    server_name: str = "ours",
) -> Table:
    """Kill the only worker (-9) and measure until all streams are back and hold a version announced meanwhile."""
    times: list[float] = []
    faults: list[str] = []
    with (
        temporary() as folder,
        server(server_name, folder, streams, settings={"supervised": "true"}) as field,
    ):
        group = field.open(streams, OPENING, again_min=0, again_max=0, at_once=at_once)
        for number in range(rounds):
            if number:
                time.sleep(STEADY)
            _, worker, *_ = field.server.process.pids  # the supervisor comes first
            began = time.time()
            os.kill(worker, signal.SIGKILL)
            version = field.server.announce(KEY)
            report = field.swarm.wait_holding(group, version, seconds)
            times.append(report.last_raised / 1e6 - began)
            if not report.met:
                faults.append(f"{streams - report.holding} streams were not back after {seconds:g} s")
            if report.failed:
                faults.append(f"{report.failed} attempts failed")
    line = {"all back s": median(times), "worst s": max(times), "cut": report.cut, "ended": report.ended}
    return Table(
        row="restart",
        title=f"The worker of {streams} streams is killed, and all come back at once",
        conditions={"streams": streams, "rounds": rounds, "handshakes_at_once": at_once, **STANDARD},
        columns=tuple(line),
        lines=[line],
        target="≤ 4 s on one worker, the start of a Python process included",
        series={"times": times},
        faults=faults,
    )
