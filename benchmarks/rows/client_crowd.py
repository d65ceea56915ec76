"""What a FlagClient costs: memory, CPU while nothing happens, CPU and time of a change, many of them in one process."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.faulty.contenders import ROOT
from benchmarks.histogram import median
from benchmarks.machine import memory
from benchmarks.processes import Process
from benchmarks.results import Table
from benchmarks.rows.field import temporary
from tests.programs import Up, environment

__all__ = ["crowd"]

PAUSE: Final = 2.0
"""Seconds after which what a change or an opening brought about is over, replays and their fetches included."""

LONG: Final = {"LIFETIME": "3600", "JOIN_WINDOW": "1800", "MAX_EVENTS": "100000", "MAX_BYTES": "20000000"}
LIVES: Final[Mapping[str, Mapping[str, str]]] = {
    "30": {},
    "3600": {f"STREAM_SERVER_{name}": value for name, value in LONG.items()},
}


def crowd(*, clients: int = 1000, rounds: int = 5, seconds: float = 35.0) -> Table:
    """Open many FlagClients in one process: memory and CPU of each, idle and at a change for all of them."""
    lines = [
        _measured(lifetime, kind, many, rounds, seconds)
        for lifetime, kind, many in (
            ("3600", "own", clients),
            ("30", "own", clients),
            ("3600", "shared", max(1, clients // 10)),
        )
    ]
    return Table(
        row="client-crowd",
        title="FlagClients in one process, against `flagstream up`",
        conditions={"rounds": rounds, "idle_s": seconds, "features": 1},
        columns=list(lines[0]),
        lines=lines,
    )


def _measured(lifetime: str, kind: str, clients: int, rounds: int, seconds: float) -> dict[str, object]:
    with temporary() as folder, Up(folder / "data", env=environment(**LIVES[lifetime])) as up:
        stream, demo = up.stack["stream"], up.stack["environment"]
        command = [sys.executable, "-m", "benchmarks.crowd_app", stream, demo["key"], kind]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with Process(command, folder / "crowd.log", env=env, cwd=ROOT, talks=True) as app:
            _tell(app, f"open {max(1, clients // 100)}")  # what the first ones load is not a client's
            before, cpu = memory(app.pids), app.cpu()
            _tell(app, f"open {clients}")
            opened = app.cpu() - cpu
            time.sleep(PAUSE)
            after, cpu = memory(app.pids), app.cpu()
            time.sleep(seconds)
            idle = app.cpu() - cpu
            _tell(app, "watch")
            changes = [_changed(app, up, f"{kind} {number}") for number in range(rounds + 1)][1:]
    everybody = clients + max(1, clients // 100)
    return {
        "clients": clients,
        "httpx client": kind,
        "lifetime s": lifetime,
        "KiB a client": (after.rss - before.rss) / clients / 1024,
        "CPU ms to open one": opened / clients * 1e3,
        "idle CPU ms a client and minute": idle / everybody / seconds * 60e3,
        "CPU ms a client and change": median(used for used, _ in changes) / everybody * 1e3,
        "p50 ms": median(times[len(times) // 2] for _, times in changes) * 1e3,
        "p99 ms": median(times[int(len(times) * 0.99)] for _, times in changes) * 1e3,
    }


def _changed(app: Process, up: Up, value: str) -> tuple[float, list[float]]:
    """Change the flag; return the CPU that the crowd spent, and the seconds from the answer to each client."""
    cpu = app.cpu()
    up.toggle(value=value)
    answered = time.monotonic()
    times = _tell(app, f"held {value}")["times"]
    time.sleep(PAUSE)
    return app.cpu() - cpu, sorted(at - answered for at in times)


def _tell(app: Process, command: str) -> Mapping[str, Any]:
    app.input.write(f"{command}\n".encode())
    app.input.flush()
    line = app.output.readline()
    app.wait(lambda: bool(line), f"its answer to {command!r}")
    answer: Mapping[str, Any] = json.loads(line)
    return answer
