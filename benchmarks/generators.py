"""Generators of load that speak `loadtest.messages`, led by a benchmark one order at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from benchmarks.processes import EndedError
from loadtest.generators import GeneratorError, LocalGenerator
from loadtest.grid import GroupPoint
from loadtest.messages import Ended, Environment, Failed, Group, Open, Order, Ready, Report, Sample, Start, Stop, Target
from loadtest.models import MODELS

__all__ = ["Led"]

PATIENCE: Final = 60.0
POLL: Final = 0.05
PREFIX: Final = "/sse/environments/"
SUFFIX: Final = "/stream"


class Led:
    """One generator process, as `command` starts it; a context manager. `found` is what its one group has counted."""

    def __init__(self, command: Sequence[str]) -> None:
        self._runner = asyncio.Runner()
        self._generator = self._runner.run(LocalGenerator.start(0, command))
        self.found = GroupPoint()
        self.cpu = 0.0
        self.rss = 0
        self._hear(Ready)

    @property
    def faults(self) -> int:
        """How many events came twice, in disorder or not to be read, and how many streams were lost."""
        counts = self.found.counts
        return counts["duplicates"] + counts["out_of_order"] + counts["invalid"] + sum(self.found.lost.values())

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
        self.wait(lambda found: found.counts["opened"] >= streams, f"{streams} streams to be open")

    def wait(self, condition: Callable[[GroupPoint], bool], what: str) -> None:
        """Wait for a condition of what it has counted; raises EndedError when it is not met in time."""
        until = time.monotonic() + PATIENCE
        while True:
            self.report()
            if condition(self.found):
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
        except EndedError:
            self._generator.kill()
        self._runner.run(self._generator.close())
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _say(self, order: Order) -> None:
        self._generator.send(order)

    def _hear(self, kind: type) -> None:
        """Wait for an answer of a kind, counting samples on the way; raises EndedError when there will be none."""
        try:
            self._runner.run(asyncio.wait_for(self._heard(kind), PATIENCE))
        except (GeneratorError, TimeoutError) as error:
            raise EndedError(str(error) or f"the generator said nothing for {PATIENCE:g} s") from None

    async def _heard(self, kind: type) -> None:
        while True:
            said = await self._generator.receive()
            if isinstance(said, Sample):
                self.found.count(said.groups[0])
                self.cpu, self.rss = said.cpu, said.rss
            if isinstance(said, Failed):
                raise EndedError(said.reason)
            if isinstance(said, kind):
                return
