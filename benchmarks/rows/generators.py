"""The load test's own generator, held against an independent one: a C program with one epoll loop.

Each round opens the same streams to the same server, has the same number of versions announced, and must count the
same. The server is the C floor, which costs the least beside a generator, or ours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from benchmarks.generators import Led
from benchmarks.histogram import median
from benchmarks.machine import memory
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import KEY, temporary
from benchmarks.servers_under_test import Server, start
from benchmarks.swarm import Swarm
from loadtest.histogram import Histogram
from loadtest.machine import cpu_seconds

__all__ = ["agrees"]

GENERATORS: Final = ("c", "ours", "uvloop")
OPENING: Final = 60.0
APART: Final = 0.05
"""Seconds between a version that all have and the next one."""

Figures = dict[str, float]


class Generator(Protocol):
    """What a round asks of a generator."""

    def opened(self, streams: int) -> Figures:
        """Open streams; return ``opened``, CPU seconds and the process's growth in bytes."""

    def told(self, server: Server, versions: int, streams: int) -> Figures:
        """Have versions announced, each when all have the last one; return counts, CPU seconds and latencies in ms."""


def agrees(
    *,
    streams: int = 10_000,
    versions: int = 20,
    rounds: int = 3,
    server_name: str = "floor",
    names: Sequence[str] = GENERATORS,
) -> Table:
    """Compare what generators count and what they cost: in each round each of them once, one after the other."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    faults: list[str] = []
    with temporary() as folder, start(server_name, folder / "server") as server:
        for number in range(rounds):
            for place, name in enumerate(names):
                try:
                    with _generator(name, server, streams, folder, first=1000 * (number * len(names) + place)) as each:
                        figures = each.opened(streams) | each.told(server, versions, streams)
                except EndedError as error:
                    faults.append(f"{name}: {error}")
                    continue
                found[name].append(figures)
                expected = (streams, streams * versions)
                counted, expected = (figures["opened"], figures["events"]), (streams, streams * versions)
                if counted != expected:
                    faults.append(f"{name} counted {counted} streams and events, not {expected}")
                time.sleep(0.5)  # the server takes its closed streams out
    lines = [{"generator": name, **_line(rounds_, streams, versions)} for name, rounds_ in found.items() if rounds_]
    return Table(
        row="agrees",
        title="One generator of load beside another: what they count and what they cost (medians of the rounds)",
        conditions={"server": server_name, "streams": streams, "versions": versions, "rounds": rounds},
        columns=tuple(lines[0]) if lines else (),
        lines=lines,
        target="counts equal; latency within noise; ≤ 2 KiB a stream; a few µs a stream and event",
        faults=faults,
    )


def _line(rounds: Sequence[Figures], streams: int, versions: int) -> dict[str, object]:
    def middle(name: str) -> float:
        return median(each[name] for each in rounds)

    return {
        "opened": int(middle("opened")),
        "events": int(middle("events")),
        "p50 ms": middle("p50"),
        "p99 ms": middle("p99"),
        "CPU µs per event": middle("cpu_events") / (streams * versions) * 1e6,
        "CPU µs per open": middle("cpu_open") / streams * 1e6,
        "RSS KiB per stream": middle("grown") / streams / 1024,
    }


@contextmanager
def _generator(name: str, server: Server, streams: int, folder: Path, *, first: int) -> Iterator[Generator]:
    if name == "c":
        with Swarm(server.port, streams, folder, first=first, share=streams) as swarm:
            yield _Native(swarm, server)
        return
    module = {"ours": "loadtest.swarm", "uvloop": "benchmarks.uvloop_swarm"}[name]
    with Led([sys.executable, "-m", module]) as led:
        led.start(server.port, server.path(KEY), streams)
        yield _Python(led)


class _Native:
    def __init__(self, swarm: Swarm, server: Server) -> None:
        self._swarm = swarm
        self._path = server.path(KEY)

    def opened(self, streams: int) -> Figures:
        cpu, rss = cpu_seconds(self._swarm.pids), memory(self._swarm.pids).rss
        self._group = self._swarm.open(self._path, streams)
        report = self._swarm.wait_open(self._group, OPENING)
        return {
            "opened": report.opened,
            "cpu_open": cpu_seconds(self._swarm.pids) - cpu,
            "grown": memory(self._swarm.pids).rss - rss,
        }

    def told(self, server: Server, versions: int, streams: int) -> Figures:
        del streams
        self._swarm.report(self._group, clear=True)
        cpu = cpu_seconds(self._swarm.pids)
        for _ in range(versions):
            version = server.announce(KEY)
            self._swarm.wait_holding(self._group, version, 20)
            time.sleep(APART)
        report = self._swarm.report(self._group)
        return {
            "events": report.deliveries,
            "cpu_events": cpu_seconds(self._swarm.pids) - cpu,
            "p50": report.latency.percentile(0.5),
            "p99": report.latency.percentile(0.99),
        }


class _Python:
    def __init__(self, led: Led) -> None:
        self._led = led

    def opened(self, streams: int) -> Figures:
        led = self._led
        led.report()
        cpu, rss = led.cpu, led.rss
        led.open(streams)
        return {"opened": led.found.counts["opened"], "cpu_open": led.cpu - cpu, "grown": led.rss - rss}

    def told(self, server: Server, versions: int, streams: int) -> Figures:
        led = self._led
        before, cpu = led.found.counts["events"], led.cpu
        led.found.histograms["delivery"] = Histogram()  # without the versions that streams began with
        for number in range(versions):
            server.announce(KEY)
            wanted = before + streams * (number + 1)
            led.wait(lambda found, wanted=wanted: found.counts["events"] >= wanted, "a version")  # type: ignore[misc]
            time.sleep(APART)
        led.report()
        if led.faults:
            raise EndedError(f"{led.faults} duplicates, losses or events in disorder")
        delivery = led.found.histograms["delivery"]
        return {
            "events": led.found.counts["events"] - before,
            "cpu_events": led.cpu - cpu,
            "p50": (delivery.percentile(0.5) or 0.0) * 1e3,
            "p99": (delivery.percentile(0.99) or 0.0) * 1e3,
        }
