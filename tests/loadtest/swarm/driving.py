"""A real generator process, led by a test."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from loadtest.generators import LocalGenerator
from loadtest.grid import GroupPoint
from loadtest.messages import (
    Answer,
    Ended,
    Environment,
    Failed,
    Group,
    GroupSample,
    Open,
    Order,
    Ping,
    Pong,
    Ready,
    Report,
    Sample,
    Start,
    Stop,
    Target,
    packed,
)
from loadtest.models import MODELS, Model

PATIENCE = 20.0
KEY = "env-key"

A = TypeVar("A", bound=Answer)


@dataclass
class Told(GroupPoint):
    """What a generator has counted so far of one group; `now` is what the last sample says."""

    lost: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    generator_errors: Counter[str] = field(default_factory=Counter)
    now: GroupSample = field(default_factory=GroupSample)
    samples: list[Sample] = field(default_factory=list)

    def hear(self, sample: Sample, group: int = 0) -> None:
        self.samples.append(sample)
        self.now = sample.groups[group]
        self.count(self.now)
        self.generator_errors.update(sample.generator_errors)

    def times(self, name: str) -> int:
        return self.histograms[name].count

    def longest(self, name: str) -> float:
        longest = self.histograms[name].percentile(1.0)
        assert longest is not None, f"no {name}"
        return longest


class Driven:
    """A generator with one group of clients, more by `groups`: an async context manager."""

    def __init__(self) -> None:
        self.told = Told()

    async def __aenter__(self) -> Self:
        self._generator = await LocalGenerator.start(0)
        self.ready = await self.hear(Ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._generator._writer.close()
        async with asyncio.timeout(PATIENCE):  # longer than a conductor would wait before it kills
            self.status = await self._generator._process.wait()
        await self._generator.close()

    def say(self, *orders: Order) -> None:
        self._generator.pass_on(b"".join(map(packed, orders)))  # so that they come together

    async def hear(self, kind: type[A]) -> A:
        """Wait for an answer; samples on the way are counted."""
        async with asyncio.timeout(PATIENCE):
            while True:
                said = await self._generator.receive()
                if isinstance(said, Sample):
                    self.told.hear(said)
                if isinstance(said, kind):
                    return said
                assert not isinstance(said, Failed), said.reason

    def start(
        self,
        port: int,
        *,
        groups: Sequence[Group],
        keys: Sequence[str] = (KEY,),
        where: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        target: dict[str, Any] = {"name": "origin", "host": "127.0.0.1", "port": port} | (where or {})
        self.epoch = time.monotonic() - time.time()
        self.say(
            Start(
                process=0,
                seed=1,
                targets=[Target(**target)],
                environments=[Environment(key=key) for key in keys],
                groups=list(groups),
                epoch=self.epoch,
                began=time.monotonic(),
                report_every=0.05,
                **more,
            )
        )

    async def open(self, port: int, model: str | Model, count: int = 1, *, over: float = 0.0, **more: Any) -> None:
        """Begin with one group of `count` clients; `more` are options of Group and Start."""
        ours = {name: more.pop(name) for name in Group.__struct_fields__ if name in more}
        ours.setdefault("fetches", False)
        chosen = MODELS[model] if isinstance(model, str) else model
        self.start(port, groups=[Group(name="g", model=chosen, target=0, first=0, count=count, **ours)], **more)
        self.say(Open(group=0, first=0, count=count, over=over))

    async def until(self, condition: Callable[[Told], bool]) -> Told:
        """Wait until what has been told meets a condition."""
        async with asyncio.timeout(PATIENCE):
            while not condition(self.told):
                await self.hear(Sample)
        return self.told

    async def report(self) -> Told:
        """Return what is true now."""
        self.say(Report(), Ping(sent=time.monotonic()))
        await self.hear(Pong)  # a sample alone may have been on its way before the orders were read
        return self.told

    async def stop(self) -> Ended:
        """Let it stop, and return its last word."""
        self.say(Stop())
        return await self.hear(Ended)


def now_version() -> int:
    return time.time_ns() // 1000
