"""The field that rows are played on: servers with a swarm each, and how they are opened and told of a version."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.machine import allow_open_files
from benchmarks.processes import EndedError
from benchmarks.servers_under_test import HEARTBEAT, LIFETIME, NotInstalledError, Server, start
from benchmarks.swarm import Group, Report, Swarm

__all__ = ["KEY", "STANDARD", "Contender", "contenders", "server", "temporary"]

KEY: Final = "benchmark"
STANDARD: Final[Mapping[str, object]] = {"lifetime_s": LIFETIME, "heartbeat_s": HEARTBEAT}
"""Conditions of every row that states no others."""

SETTLE: Final = 0.05
"""Seconds after the last arrival in which a server finishes what it does after a broadcast."""

WARM: Final = 200


@dataclass(slots=True)
class Contender:
    """A server under test, and the swarm that talks to it."""

    server: Server
    swarm: Swarm
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The server's name."""
        return self.server.name

    def open(self, streams: int, seconds: float, key: str = KEY, **options: int) -> Group:
        """Open streams of `key` and wait until all are open; raises `EndedError` when they are not."""
        group = self.swarm.open(self.server.path(key), streams, **options)
        report = self.swarm.wait_open(group, seconds)
        if not report.met:
            raise EndedError(
                f"{self.name}: {report.open} of {streams} streams were open after {seconds:g} s"
                f" ({report.failed} failed, {report.refused} refused)"
            )
        return group

    def warm_up(self) -> None:
        """Let the server load and allocate what it does once: some streams, two events, all gone."""
        group = self.open(WARM, 20, key="warm")
        for _ in range(2):
            version = self.server.announce("warm")
            self.swarm.wait_holding(group, version, 10)
            time.sleep(0.1)
        self.swarm.close_group(group)
        time.sleep(0.2)

    def broadcast(self, group: Group, seconds: float = 30.0, key: str = KEY) -> tuple[Report, float]:
        """Announce a version and wait for all of `group`; return the report and the server's CPU seconds for it."""
        self.swarm.report(group, clear=True)
        before = self.server.process.cpu()
        version = self.server.announce(key)
        report = self.swarm.wait_holding(group, version, seconds)
        time.sleep(SETTLE)
        used = self.server.process.cpu() - before
        if not report.met:
            self.missing.append(f"{self.name}: {group.streams - report.holding} streams did not hear of a version")
        return report, used


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder for a run, and this process and its children all the open files that they may have."""
    allow_open_files()
    with tempfile.TemporaryDirectory(prefix="flagstream-benchmark-") as name:
        yield Path(name)


@contextmanager
def server(
    name: str,
    folder: Path,
    streams: int,
    *,
    first: int = 0,
    workers: int = 1,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Contender]:
    """Run one server and a swarm of `streams` with addresses from `first` on; warmed up."""
    with (
        start(name, folder / name.replace("/", "_"), workers=workers, settings=settings) as running,
        Swarm(running.port, streams + WARM, folder, first=first) as swarm,
    ):
        contender = Contender(running, swarm)
        contender.warm_up()
        yield contender


@contextmanager
def contenders(names: Sequence[str], streams: int) -> Iterator[tuple[list[Contender], list[str]]]:
    """Run several servers at once, each with a swarm; and say which could not be had."""
    with temporary() as folder, ExitStack() as stack:
        running: list[Contender] = []
        faults: list[str] = []
        for name in names:
            first = running[-1].swarm.first_free if running else 0
            try:
                running.append(stack.enter_context(server(name, folder, streams, first=first)))
            except NotInstalledError as error:
                faults.append(str(error))
        yield running, faults
