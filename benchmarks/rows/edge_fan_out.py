"""Clients through Varnish and without it: latency, CPU, memory and threads of each, and what reaches the origin."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.histogram import Histogram, median
from benchmarks.metrics import figure
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import KEY, temporary
from benchmarks.servers_under_test import Server, start
from benchmarks.swarm import Group, Swarm
from benchmarks.varnish import Varnish

__all__ = ["OPENING", "Measured", "environments", "fan_out", "opened_at", "threads", "through"]

BEHIND: Final[Mapping[str, Any]] = {
    "edge": True,
    "lifetime": 600,
    "join_window": 300,
    "heartbeat": 15,
    "drain": 605,
    "min_interval": 0.05,
    "max_events": 100_000,
    "max_bytes": 20_000_000,
}
"""Settings of the stream server: streams that outlive a row, so that nothing but the fan-out is measured."""

CONDITIONS: Final[Mapping[str, object]] = {"lifetime_s": 600, "join_window_s": 300, "heartbeat_s": 15}
OPENING: Final = 60.0
SETTLE: Final = 0.3


@dataclass(slots=True)
class Measured:
    """What broadcasts to all clients came to; CPU is in µs a delivery, of the edge (0 without one) and the origin."""

    latency: Histogram
    edge_cpu: float
    origin_cpu: float
    opening_s: float
    missing: int


@contextmanager
def behind(folder: Path, settings: Mapping[str, Any] = BEHIND) -> Iterator[Server]:
    """Run a stream server as it runs behind an edge."""
    written = {name: str(value).lower() if isinstance(value, bool) else value for name, value in settings.items()}
    with start("ours", folder, settings=written) as server:
        yield server


def opened_at(port: int) -> int:
    """Return how many streams the stream server on `port` has opened."""
    return figure(port, "flagstream_streams_opened_total")


@contextmanager
def through(folder: Path, server: Server, clients: int, **options: Any) -> Iterator[Varnish]:
    """Put a Varnish in front of `server`."""
    with Varnish(folder, [server.port], clients=clients, streams=BEHIND, **options) as edge:
        yield edge


def opened(swarm: Swarm, clients: int, key: str = KEY) -> Group:
    """Open `clients` streams and wait for all; raises `EndedError` when they are not all open in time."""
    group = swarm.open(Server.path(key), clients)
    report = swarm.wait_open(group, OPENING)
    if not report.met:
        raise EndedError(f"{report.open} of {clients} streams were open after {OPENING:g} s")
    return group


def broadcasts(server: Server, edge: Varnish | None, swarm: Swarm, clients: int, rounds: int) -> Measured:
    """Open the clients and tell all of them of some versions."""
    began = time.monotonic()
    group = opened(swarm, clients)
    opening, latency, missing = time.monotonic() - began, Histogram(), 0
    edge_cpu, origin_cpu = [], []
    for number in range(rounds + 1):
        swarm.report(group, clear=True)
        before = edge.process.cpu() if edge else 0.0, server.process.cpu()
        version = server.announce(KEY)
        report = swarm.wait_holding(group, version, 30)
        time.sleep(SETTLE)  # what is still done after the last arrival
        missing += clients - report.holding
        if number:  # the first only warms up
            latency = latency + report.latency
            edge_cpu.append(((edge.process.cpu() - before[0]) if edge else 0.0) / clients * 1e6)
            origin_cpu.append((server.process.cpu() - before[1]) / clients * 1e6)
    return Measured(latency, median(edge_cpu), median(origin_cpu), opening, missing)


def fan_out(*, clients: tuple[int, ...] = (1000, 5000, 15_000), rounds: int = 10) -> Table:
    """Measure broadcasts to clients through Varnish and without it: latency, CPU, origin streams, memory, threads."""
    lines: list[dict[str, object]] = []
    faults: list[str] = []
    for count in clients:
        for way in ("direct", "varnish"):
            with temporary() as folder, behind(folder / "origin") as server:
                if way == "direct":
                    with Swarm(server.port, count, folder) as swarm:
                        found, more = broadcasts(server, None, swarm, count, rounds), dict[str, object]()
                else:
                    with through(folder / "edge", server, count) as edge, Swarm(edge.port, count, folder) as swarm:
                        found, more = _with_memory(server, edge, swarm, count, rounds)
                lines.append(
                    {"clients": count, "way": way, **_figures(found), **more, "origin streams": opened_at(server.port)}
                )
                if found.missing:
                    faults.append(f"{count} {way}: {found.missing} clients did not hear of a version")
    return Table(
        row="edge-fan-out",
        title="One broadcast to all clients of one environment, through Varnish and without it",
        conditions={"rounds": rounds, **CONDITIONS},
        columns=tuple(dict.fromkeys(name for line in reversed(lines) for name in line)),
        lines=lines,
        target="1 origin stream; 1000: p99 30 ms, 5000: 121 ms, 15000: 349 ms",
        faults=faults,
    )


def _figures(found: Measured) -> dict[str, object]:
    return {
        "p50 ms": found.latency.percentile(0.5),
        "p99 ms": found.latency.percentile(0.99),
        "last ms": found.latency.worst,
        "edge CPU µs a delivery": found.edge_cpu,
        "origin CPU µs a delivery": found.origin_cpu,
        "opened in s": found.opening_s,
    }


def _with_memory(
    server: Server, edge: Varnish, swarm: Swarm, clients: int, rounds: int
) -> tuple[Measured, dict[str, object]]:
    before, counted = edge.memory(), edge.counters()
    found = broadcasts(server, edge, swarm, clients, rounds)
    after, now = edge.memory(), edge.counters()
    return found, {
        "KiB a client": (after.rss - before.rss) / clients / 1024,
        "PSS KiB a client": (after.pss - before.pss) / clients / 1024,
        "threads a client": (now["MAIN.threads"] - counted["MAIN.threads"]) / clients,
        "threads limited": now["MAIN.threads_limited"],
    }


CACHED: Final = "tcache:true"
"""jemalloc as it is without a word from us: each thread keeps what it has freed for itself."""

UNCACHED: Final = "tcache:false"
VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "varnishd's own": (CACHED, {}),
    "thread_pool_stack=48k": (CACHED, {"thread_pool_stack": "48k"}),
    "workspace_client=24k, vsl_buffer=4k": (CACHED, {"workspace_client": "24k", "vsl_buffer": "4k"}),
    "MALLOC_CONF=tcache:false": (UNCACHED, {}),
    "… and workspace_client=24k, vsl_buffer=4k": (UNCACHED, {"workspace_client": "24k", "vsl_buffer": "4k"}),
    "… and workspace_thread=0.5k": (UNCACHED, {"workspace_thread": "0.5k"}),
    "… and pcre2_jit_compilation=off": (UNCACHED, {"pcre2_jit_compilation": "off"}),
}


def threads(*, clients: int = 5000, rounds: int = 3) -> Table:
    """Measure the memory of a client at the edge under cheaper settings of threads and workspaces."""
    lines: list[dict[str, object]] = []
    faults: list[str] = []
    for name, (malloc, parameters) in VARIANTS.items():
        with temporary() as folder, behind(folder / "origin") as server:
            try:
                with (
                    through(folder / "edge", server, clients, malloc=malloc, parameters=parameters) as edge,
                    Swarm(edge.port, clients, folder) as swarm,
                ):
                    found, more = _with_memory(server, edge, swarm, clients, rounds)
            except EndedError as error:
                faults.append(f"{name}: {error}")
                continue
        lines.append({"settings": name, **more, **_figures(found)})
    return Table(
        row="edge-threads",
        title="Memory of a client at the edge, by what a thread is given",
        conditions={"clients": clients, "rounds": rounds, **CONDITIONS},
        columns=tuple(lines[0]) if lines else (),
        lines=lines,
        faults=faults,
    )


def environments(*, clients: int = 10_000, keys: int = 10, rounds: int = 3) -> Table:
    """Measure clients of several environments through Varnish: origin streams, and broadcasts to each in turn."""
    share, lines, faults = clients // keys, [], []
    with (
        temporary() as folder,
        behind(folder / "origin") as server,
        through(folder / "edge", server, clients) as edge,
        Swarm(edge.port, clients, folder) as swarm,
    ):
        began = time.monotonic()
        groups = {f"environment-{number}": opened(swarm, share, f"environment-{number}") for number in range(keys)}
        opening = time.monotonic() - began
        latency = Histogram()
        for _ in range(rounds):
            for key, group in groups.items():
                swarm.report(group, clear=True)
                report = swarm.wait_holding(group, server.announce(key), 30)
                latency = latency + report.latency
                if not report.met:
                    faults.append(f"{key}: {share - report.holding} clients did not hear of a version")
        streams = opened_at(server.port)
        lines.append(
            {
                "clients": clients,
                "environments": keys,
                "origin streams": streams,
                "opened in s": opening,
                "p50 ms": latency.percentile(0.5),
                "p99 ms": latency.percentile(0.99),
            }
        )
    if streams != keys:
        faults.append(f"{streams} origin streams for {keys} environments")
    return Table(
        row="edge-environments",
        title="Clients of several environments through Varnish within a join window",
        conditions={"rounds": rounds, **CONDITIONS},
        columns=tuple(lines[0]),
        lines=lines,
        target="10 origin streams for 10,000 clients of 10 environments",
        faults=faults,
    )
