"""Slow readers: what they cost the others and the server, and whether they are told in the end.

Slow streams have the smallest receive buffer and a network's segment size (TCP_MAXSEG 1448): over loopback's segments
of 64 KiB the kernel would buffer 2.5 MB for each of them, and no server would ever notice that nobody reads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.machine import kernel, memory
from benchmarks.results import Table
from benchmarks.rows.compare import OPENING
from benchmarks.rows.field import KEY, STANDARD, Contender, server, temporary
from benchmarks.swarm import Group, Swarm

__all__ = ["slow"]

BUFFER = 2048
SEGMENT = 1448
CASES = 5
RETURN = 20.0
"""Seconds in which who reads again must have the newest version."""


def slow(
    *,
    streams: int = 5000,
    readers: int = 1000,
    rounds: int = 50,
    flood: int = 3000,
    server_name: str = "ours",
    min_interval: float = 0.0,
) -> Table:
    """Broadcast while 0, 1 and `readers` streams do not read, and one never does; then let them read again."""
    settings = {"min_interval": min_interval}
    with (
        temporary() as folder,
        server(server_name, folder, CASES * streams, settings=settings) as field,
        Swarm(field.server.port, readers + 2 + CASES, folder, first=field.swarm.first_free) as sluggish,
    ):
        play = _Play(field, sluggish, streams, rounds, flood, faults=[])
        lines = [
            play.broadcasts("none slow"),
            play.broadcasts("one slow", slow=1),
            play.broadcasts(f"{readers} slow", slow=readers),
            play.broadcasts("one never reads", deaf=1),
            play.broadcasts("none slow, again"),
        ]
    return Table(
        row="slow",
        title="Broadcasts while some streams of the same environment do not read",
        conditions={
            "streams_that_read": streams,
            "rounds": rounds,
            "broadcasts_before": flood,
            "min_interval_s": min_interval,
            "receive_buffer_of_the_slow": BUFFER,
            "segment": SEGMENT,
            **STANDARD,
        },
        columns=tuple(lines[2]),
        lines=lines,
        target="others' p99 unchanged within noise; memory bounded; the slow ones get the newest version on return",
        faults=play.faults,
    )


@dataclass(frozen=True, slots=True)
class _Play:
    """One environment: `streams` that read, and in `sluggish` those that do not."""

    field: Contender
    sluggish: Swarm
    streams: int
    rounds: int
    flood: int
    faults: list[str]

    def broadcasts(self, case: str, *, slow: int = 0, deaf: int = 0) -> dict[str, object]:
        """Fill the buffers of those that do not read, then broadcast `rounds` times to all."""
        path, pids = self.field.server.path(KEY), self.field.server.process.pids
        rss, buffers = memory(pids).rss, kernel().tcp_buffers
        quiet = [self.sluggish.open(path, slow, rcvbuf=BUFFER, mss=SEGMENT)]
        quiet.append(self.sluggish.open(path, deaf, rcvbuf=BUFFER, mss=SEGMENT, deaf=1))
        for group in quiet:
            self.sluggish.wait_open(group, 20)
        self.sluggish.slow(quiet[0], slow)
        if slow or deaf:
            self._fill()
        cost = {
            "server RSS KiB more": (memory(pids).rss - rss) / 1024,
            "kernel buffers KiB more": (kernel().tcp_buffers - buffers) / 1024,
        }
        readers = self.field.open(self.streams, OPENING)
        self.field.swarm.report(readers, clear=True)
        version = 0
        for _ in range(self.rounds):
            version = self._announced(self.field.swarm, readers, case)
        report = self.field.swarm.report(readers)
        if report.cut or report.ended:
            self.faults.append(f"{case}: {report.cut + report.ended} streams that read were ended")
        line: dict[str, object] = {
            "case": case,
            "others' p50 ms": report.latency.percentile(0.5),
            "p99 ms": report.latency.percentile(0.99),
            "last ms": report.latency.worst,
            **(cost if slow or deaf else {}),
        }
        line |= self._return(case, [group for group in quiet if group.streams], version)
        self.field.swarm.close_group(readers)
        for group in quiet:
            self.sluggish.close_group(group)
        time.sleep(0.5)
        return line

    def _fill(self) -> None:
        """Broadcast until the kernel takes no more for those that do not read; one that does sets the pace."""
        pacer = self.sluggish.open(self.field.server.path(KEY), 1)
        self.sluggish.wait_open(pacer, 20)
        for _ in range(self.flood):
            self._announced(self.sluggish, pacer, "before")
        self.sluggish.close_group(pacer)

    def _announced(self, swarm: Swarm, group: Group, case: str) -> int:
        version = self.field.server.announce(KEY)
        if not swarm.wait_holding(group, version, 30).met:
            self.faults.append(f"{case}: a broadcast did not reach all who read")
        return version

    def _return(self, case: str, quiet: list[Group], version: int) -> dict[str, object]:
        """Let them read again; return how many were cut meanwhile, and how long the others took to be told."""
        began = time.time()
        cut, seconds = 0, 0.0
        for group in quiet:
            self.sluggish.resume(group)
            report = self.sluggish.wait_holding(group, version, 2.0)
            deadline = time.monotonic() + RETURN
            while not report.met and report.holding + report.cut < group.streams and time.monotonic() < deadline:
                time.sleep(0.1)
                report = self.sluggish.report(group, version=version)
                report.met = False
            untold = group.streams - report.holding - report.cut
            if untold:
                self.faults.append(f"{case}: {untold} were not told on their return")
            cut += report.cut
            seconds = max(seconds, report.last_raised / 1e6 - began)
        return {"cut": cut, "told after s": max(seconds, 0.0)} if quiet else {}
