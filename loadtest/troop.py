"""All generators of a run together, each with its part of every crowd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.clock import RunClock
from loadtest.collecting import STEP
from loadtest.dividing import Crowd, Portion, portion
from loadtest.generators import Generator, GeneratorError
from loadtest.messages import (
    Close,
    Cut,
    Environment,
    Failed,
    Mark,
    Open,
    Order,
    Ping,
    Pong,
    Published,
    Ready,
    Settle,
    Start,
    Stop,
    Target,
)

__all__ = ["Offset", "Troop"]

READY_WITHIN: Final = 60.0
PINGS: Final = 20
SOURCES: Final = 8


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a generator's monotonic clock is ahead of ours, and by how much that may be wrong, in seconds."""

    seconds: float = 0.0
    error: float = 0.0


class Troop:
    """Tells every generator its part; they are numbered as they are given."""

    def __init__(self, generators: Sequence[Generator], crowds: Sequence[Crowd]) -> None:
        self.generators = generators
        self._portions: list[list[Portion]] = [
            [portion(crowd, process, len(generators)) for crowd in crowds] for process in range(len(generators))
        ]
        self._offsets = [Offset()] * len(generators)

    @property
    def clock_error(self) -> float:
        """By how many seconds the worst clock may be wrong."""
        return max(offset.error for offset in self._offsets)

    async def ready(self, most: int) -> list[Ready]:
        """Wait until all are there and can hold their part of `most` streams; raises `GeneratorError`."""
        readies = [await _ready(generator) for generator in self.generators]
        share = -(-most // len(self.generators))
        for generator, ready in zip(self.generators, readies, strict=True):
            if ready.capacity < share:
                raise GeneratorError(
                    f"{generator.name} can hold {ready.capacity:,} streams by its limit of open files, and would need "
                    f"{share:,}: give more --processes, or raise the limit (ulimit -n)"
                )
        return readies

    async def compare_clocks(self) -> None:
        """Find out by how much the clocks of generators on other hosts differ from ours."""
        self._offsets = [await _offset(generator) for generator in self.generators]

    def start(
        self, targets: Sequence[Target], environments: Sequence[Environment], clock: RunClock, signature: int, seed: int
    ) -> None:
        """Tell everyone what the run is."""
        for process, generator in enumerate(self.generators):
            offset = self._offsets[process].seconds
            generator.send(
                Start(
                    process=process,
                    seed=seed,
                    targets=list(targets),
                    environments=list(environments),
                    groups=[each.group for each in self._portions[process]],
                    epoch=clock.epoch + offset,
                    began=clock.began + offset,
                    signature=signature,
                    report_every=STEP,
                    first_source=process * SOURCES,
                    sources=SOURCES,
                )
            )

    def open(self, over: float) -> None:
        """Let all that are there from the start open their streams, evenly in every process and group."""
        for process, generator in enumerate(self.generators):
            for index, each in enumerate(self._portions[process]):
                if each.count:
                    generator.send(Open(group=index, first=each.group.first, count=each.count, over=over))

    def come(self, wave: int, over: float) -> None:
        """Let the clients of the `wave`-th entry that brings clients (from 0) open their streams."""
        for process, generator in enumerate(self.generators):
            for index, each in enumerate(self._portions[process]):
                first = each.group.first + each.count + sum(each.extra[:wave])
                if each.extra[wave]:
                    generator.send(Open(group=index, first=first, count=each.extra[wave], over=over))

    def go(self, wave: int) -> None:
        """Let as many leave again."""
        for process, generator in enumerate(self.generators):
            for index, each in enumerate(self._portions[process]):
                if each.extra[wave]:
                    generator.send(Close(group=index, count=each.extra[wave]))

    def mark(self, number: int) -> None:
        """From now on, what is lost is lost to entry `number` of the timeline."""
        self._tell(Mark(fault=number))

    def cut(self, share: float) -> None:
        """Break a share of all connections."""
        self._tell(Cut(share=share))

    def published(self, versions: Sequence[tuple[int, int]]) -> None:
        """Tell of versions that were accepted."""
        self._tell(Published(versions=list(versions)))

    def settle(self) -> None:
        """Let nobody come or leave any more."""
        self._tell(Settle())

    def stop(self) -> None:
        """Let everyone say its last word."""
        self._tell(Stop())

    def _tell(self, order: Order) -> None:
        for generator in self.generators:
            generator.send(order)

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(generator.close() for generator in self.generators))


async def _ready(generator: Generator) -> Ready:
    try:
        async with asyncio.timeout(READY_WITHIN):
            answer = await generator.receive()
    except TimeoutError:
        raise GeneratorError(f"{generator.name} did not start within {READY_WITHIN:g} s") from None
    if isinstance(answer, Failed):
        raise GeneratorError(f"{generator.name} cannot start: {answer.reason}")
    if not isinstance(answer, Ready):
        raise GeneratorError(f"{generator.name} began with {type(answer).__name__} instead of Ready")
    return answer


async def _offset(generator: Generator) -> Offset:
    """Compare clocks by the exchange that took least: what it took cannot hide more than its half."""
    best = Offset(error=float("inf"))
    for _ in range(PINGS):
        sent = time.monotonic()
        generator.send(Ping(sent=sent))
        answer = await generator.receive()
        back = time.monotonic()
        if not isinstance(answer, Pong) or answer.sent != sent:
            raise GeneratorError(f"{generator.name} answered a ping with {type(answer).__name__}")
        if (error := (back - sent) / 2) < best.error:
            best = Offset(answer.at - (sent + back) / 2, error)
    return best
