"""A real generator process, led by a test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from loadtest.histogram import Histogram
from loadtest.messages import (
    Ended,
    Environment,
    Failed,
    Group,
    GroupSample,
    Message,
    Open,
    Ping,
    Pong,
    Ready,
    Report,
    Sample,
    Start,
    Stop,
    Target,
    Unpacker,
    packed,
)
from loadtest.models import MODELS, Model

PATIENCE = 20.0
KEY = "env-key"

M = TypeVar("M", bound=Message)


@dataclass
class Told:
    """What a generator has counted so far of one group; `now` are the levels of the last sample."""

    counts: Counter[str] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    generator_errors: Counter[str] = field(default_factory=Counter)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    readmission: dict[int, Histogram] = field(default_factory=dict)
    now: GroupSample = field(default_factory=GroupSample)
    samples: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample, group: int = 0) -> None:
        self.samples.append(sample)
        self.now = sample.groups[group]
        self.generator_errors.update(sample.generator_errors)
        for name in GroupSample.__struct_fields__:
            value = getattr(self.now, name)
            if isinstance(value, int):
                self.counts[name] += value
            elif isinstance(value, list):
                self.histograms.setdefault(name, Histogram()).add(Histogram(value))
        self.lost.update(self.now.lost)
        self.errors.update(self.now.errors)
        for mark, pairs in self.now.readmission.items():
            self.readmission.setdefault(mark, Histogram()).add(Histogram(pairs))

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
        self._unpacker = Unpacker()
        self._said: list[Message] = []

    async def __aenter__(self) -> Self:
        ours, theirs = socket.socketpair()
        self._reader, self._writer = await asyncio.open_connection(sock=ours)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadtest.swarm", str(theirs.fileno()), pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self.ready = await self.hear(Ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        async with asyncio.timeout(PATIENCE):
            self.status = await self.process.wait()

    def say(self, *orders: Message) -> None:
        self._writer.write(b"".join(map(packed, orders)))

    async def hear(self, kind: type[M]) -> M:
        """Wait for a message; samples on the way are counted."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while self._said:
                    said = self._said.pop(0)
                    if isinstance(said, Sample):
                        self.told.add(said)
                    if isinstance(said, kind):
                        return said
                    assert not isinstance(said, Failed), said.reason
                data = await self._reader.read(1 << 16)
                assert data, "the generator has ended"
                self._said.extend(self._unpacker.feed(data))

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
