"""What goes wrong behind an edge: an origin that is killed, and streams that end early; with our rules and without."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.processes import EndedError, wait_until
from benchmarks.results import Table
from benchmarks.rows.edge_fan_out import opened_at
from benchmarks.rows.field import KEY, temporary
from benchmarks.servers_under_test import Server
from benchmarks.swarm import Group, Swarm
from benchmarks.varnish import Varnish
from tests.edge.fan_out import Act, Installation, ScriptedOrigin, installation, place

__all__ = ["ends", "killed"]

LIFE: Final[Mapping[str, Any]] = {"lifetime": 120, "join_window": 60, "heartbeat": 15, "min_interval": 1}
PAUSE: Final = 1000
"""Milliseconds at most, at random, before a client comes back."""

BRIEF: Final = {"timeout_idle": "0.2"}
"""A replay has a length and leaves its connection open; the load generator takes the close for its end."""


def killed(*, clients: int = 2000, away: float = 10.0) -> Table:
    """Kill the only origin (-9) and start it again `away` seconds later, with our rules and with naive ones."""
    lines: list[dict[str, object]] = []
    faults: list[str] = []
    for way in ("guarded", "naive"):
        with temporary() as folder, installation(folder / "site", life=dict(LIFE), waiting_room=True) as site:
            [origin] = site.origins
            assert site.waiting_room is not None
            ports = [int(each.url.rpartition(":")[2]) for each in (origin, site.waiting_room)]
            with (
                Varnish(
                    folder / "edge",
                    ports[:1],
                    clients=clients,
                    streams={**LIFE, "edge": True, "drain": 125},
                    waiting_room=ports[1],
                    naive=way == "naive",
                    parameters=BRIEF,
                ) as edge,
                Swarm(edge.port, clients, folder) as swarm,
            ):
                line = _killed(site, edge, swarm, clients, away)
        lines.append({"rules": way, **line})
        if line["back"] != clients:
            faults.append(f"{way}: {line['back']} of {clients} clients were back")
    return Table(
        row="edge-killed",
        title="The origin is killed and comes back; clients return after 0 to 1 s at random",
        conditions={"clients": clients, "away_s": away, "lifetime_s": 120, "join_window_s": 60, "heartbeat_s": 15},
        columns=tuple(lines[0]),
        lines=lines,
        target="all cut within 0.5 s; a try a second at most while it is away; 1 stream afterwards",
        faults=faults,
    )


def _killed(site: Installation, edge: Varnish, swarm: Swarm, clients: int, away: float) -> dict[str, object]:
    [origin] = site.origins
    group = swarm.open(Server.path(KEY), clients, again_min=0, again_max=PAUSE)
    if not swarm.wait_open(group, 60).met:
        raise EndedError("not all clients were open before the origin was killed")
    swarm.wait_holding(group, site.announce(KEY), 30)
    before, opened = edge.counters(), swarm.report(group).opened
    began = time.monotonic()
    origin.kill()
    wait_until(lambda: swarm.report(group).cut >= clients, "the cut of every client")
    cut = time.monotonic() - began
    time.sleep(max(0.0, away - cut))
    after, report = edge.counters(), swarm.report(group)
    tried = after["MAIN.backend_fail"] - before["MAIN.backend_fail"]
    version = site.announce(KEY)
    origin.start()
    started = time.monotonic()
    nearly, last = _back(swarm, group, version, clients)
    return {
        "all cut s": cut,
        "tries while away": tried,
        "requests a client and s": (report.opened + report.refused - opened) / clients / away,
        "99 % back s": nearly - started,
        "last back s": last - started,
        "back": swarm.report(group, version=version).holding,
        "streams of the origin": opened_at(int(place(origin.url).rpartition(":")[2])),
    }


def _back(swarm: Swarm, group: Group, version: int, clients: int) -> tuple[float, float]:
    """Return when 99 of 100 and when all clients held `version`; a minute later at most."""
    moments = []
    for share in (0.99, 1.0):
        deadline = time.monotonic() + 60
        while swarm.report(group, version=version).holding < share * clients and time.monotonic() < deadline:
            time.sleep(0.02)
        moments.append(time.monotonic())
    return moments[0], moments[1]


Script = Callable[[int], Act]

CASES: Final[tuple[tuple[str, bool, Script], ...]] = (
    ("naive, fresh for its life", True, lambda _: Act(4, 4)),
    ("naive, fresh for 6 s more", True, lambda _: Act(4, 10)),
    ("naive, fresh for 1 s", True, lambda _: Act(4, 1)),
    ("naive, two end early", True, lambda number: Act(1.5 if number < 2 else 4, 4)),
    ("guarded, fresh for its life", False, lambda _: Act(4, 4)),
    ("guarded, fresh for 6 s more", False, lambda _: Act(4, 10)),
    ("guarded, fresh for 15 min", False, lambda _: Act(4, 900)),
    ("guarded, joinable for 2 s", False, lambda _: Act(4, 2)),
    ("guarded, three end early", False, lambda number: Act(1.5 if number < 3 else 4, 900)),
)


def ends(*, clients: int = 300, seconds: float = 14.0, pause: int = 50) -> Table:
    """Let clients come back after each end of short streams, up to `pause` ms later, behind naive and our rules."""
    lines: list[dict[str, object]] = []
    faults: list[str] = []
    for name, naive, script in CASES:
        with temporary() as folder, ScriptedOrigin(script) as origin:
            with (
                Varnish(folder / "edge", [origin.port], clients=clients, naive=naive, parameters=BRIEF) as edge,
                Swarm(edge.port, clients, folder) as swarm,
            ):
                group = swarm.open(Server.path(KEY), clients, again_min=0, again_max=pause)
                time.sleep(seconds)
                report = swarm.report(group)
            streams = len(origin.requests)
        replays = report.cut
        lines.append({"rules": name, "origin streams": streams, "connects": report.opened, "replays": replays})
        if not naive and replays > clients * streams:
            faults.append(f"{name}: {replays} times a client got a finished stream: a loop")
    return Table(
        row="edge-ends",
        title="Streams of 4 s that end, early or while they are fresh",
        conditions={"clients": clients, "seconds": seconds, "pause_ms": pause, "lifetime_s": 4, "heartbeat_s": "none"},
        columns=tuple(lines[0]),
        lines=lines,
        target="guarded: one replay a client and end at most, none where a stream is fresh for less than it lives",
        faults=faults,
    )
