"""Generators of load that speak `loadtest.messages`, led by a benchmark one order at a time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from benchmarks.processes import EndedError, Process
from loadtest.histogram import Histogram
from loadtest.messages import (
    Ended,
    Environment,
    Failed,
    Group,
    Open,
    Order,
    Ready,
    Report,
    Sample,
    Start,
    Stop,
    Target,
    Unpacker,
    packed,
)
from loadtest.models import MODELS

__all__ = ["Count", "Led"]

PATIENCE: Final = 60.0
POLL: Final = 0.05
PREFIX: Final = "/sse/environments/"
SUFFIX: Final = "/stream"


class Count:
    """What a generator has counted since it was last cleared."""

    def __init__(self) -> None:
        self.opened = self.deliveries = self.events = self.faults = 0
        self.delivery, self.opening = Histogram(), Histogram()

    def add(self, sample: Sample) -> None:
        """Add what one sample has of its one group."""
        (group,) = sample.groups
        self.opened += group.opened
        self.events += group.events
        self.deliveries += group.deliveries
        self.faults += group.duplicates + group.out_of_order + group.invalid + sum(group.lost.values())
        self.delivery.add(Histogram(group.delivery))
        self.opening.add(Histogram(group.opening))


class Led:
    """One generator process, as `command` starts it; a context manager."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        ours, theirs = socket.socketpair()
        self._channel = ours
        with theirs:
            self.process = Process([*command, str(theirs.fileno())], log, passed=(theirs.fileno(),))
        self._unpacker = Unpacker()
        self._said: list[object] = []
        self.count = Count()
        self.cpu = 0.0
        self.rss = 0
        self._hear(Ready)

    def start(self, port: int, path: str, streams: int) -> None:
        """Tell it of a server; no client of it ever leaves, so that only deliveries cost."""
        prefix, _, key = path.removesuffix(SUFFIX).rpartition(PREFIX)
        group = Group(name="g", model=MODELS["eventsource"], target=0, first=0, count=streams, fetches=False)
        self._say(
            Start(
                process=0,
                seed=1,
                targets=[Target(name="origin", host="127.0.0.1", port=port, prefix=prefix)],
                environments=[Environment(key=key)],
                groups=[group],
                epoch=time.monotonic() - time.time(),
                began=time.monotonic(),
                report_every=3600.0,
            )
        )

    def open(self, streams: int) -> None:
        """Open streams, as fast as it can, and wait until they are."""
        self._say(Open(group=0, first=0, count=streams))
        self.wait(lambda count: count.opened >= streams, f"{streams} streams to be open")

    def wait(self, condition: Callable[[Count], bool], what: str) -> None:
        """Wait for a condition of the count; raises EndedError when it is not met in time."""
        until = time.monotonic() + PATIENCE
        while True:
            self.report()
            if condition(self.count):
                return
            if time.monotonic() > until:
                raise EndedError(f"waited {PATIENCE:g} s for {what}")
            time.sleep(POLL)

    def report(self) -> None:
        """Take what it has counted."""
        self._say(Report())
        self._hear(Sample)

    def close(self) -> None:
        """End it."""
        try:
            self._say(Stop())
            self._hear(Ended)
        except (EndedError, OSError):
            pass
        self._channel.close()
        self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, order: Order) -> None:
        self._channel.sendall(packed(order))

    def _hear(self, kind: type) -> None:
        self._channel.settimeout(PATIENCE)
        while True:
            while self._said:
                said = self._said.pop(0)
                if isinstance(said, Sample):
                    self.count.add(said)
                    self.cpu, self.rss = said.cpu, said.rss
                if isinstance(said, Failed):
                    raise EndedError(said.reason)
                if isinstance(said, kind):
                    return
            data = self._channel.recv(1 << 20)
            if not data:
                raise EndedError(f"the generator has ended: {self.process.said()}")
            self._said.extend(self._unpacker.feed(data))
