"""Who plays which clients: the mix in whole numbers, and its parts for each process of the swarm."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.messages import Group, Slow
from loadtest.models import MODELS
from loadtest.scenario.schema import Fault, Mix, Scenario

__all__ = [
    "MOST_PROCESSES",
    "MOST_STREAMS",
    "RESERVE",
    "Crowd",
    "apportioned",
    "crowds",
    "leaving",
    "most_at_once",
    "portion",
    "processes_for",
]

MOST_STREAMS: Final = 19_000
"""Streams that one process holds at most; the files beyond are for fetching and for streams that replace others."""

RESERVE: Final = 400
"""Files that a process has for other things than streams."""

MOST_PROCESSES: Final = 256
"""Processes of one host."""

ALONE: Final = 2_000
"""Clients that one process plays without a second one to share the work."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """All clients of one kind: `count` that are there from the start, and `extra` that the timeline lets come."""

    name: str
    mix: Mix
    target: int
    """Index into the targets of the run."""
    first: int
    count: int
    extra: tuple[int, ...] = ()
    """How many come with each entry of the timeline that brings clients."""

    @property
    def numbers(self) -> int:
        """How many numbers it takes."""
        return self.count + sum(self.extra)


@dataclass(frozen=True, slots=True)
class Portion:
    """What one process has of a crowd: the first numbers are of the clients from the start, the others come later."""

    group: Group
    count: int
    extra: tuple[int, ...]


def apportioned(total: int, shares: Sequence[float]) -> list[int]:
    """Divide `total` by proportions into whole numbers that add up to it (largest remainder)."""
    whole = sum(shares)
    exact = [total * share / whole for share in shares]
    counts = [math.floor(each) for each in exact]
    by_remainder = sorted(range(len(shares)), key=lambda index: (counts[index] - exact[index], index))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def crowds(scenario: Scenario, targets: Sequence[str]) -> list[Crowd]:
    """Return the clients of a scenario; `targets` are names of ways in, `origin` and `edge`."""
    mix = scenario.clients.mix
    shares = [each.share for each in mix]
    counts = apportioned(scenario.clients.count, shares)
    coming = [
        apportioned(round(scenario.clients.count * (fault.times - 1)), shares)
        for fault in scenario.timeline
        if fault.do == "clients"
    ]
    made: list[Crowd] = []
    first = 0
    for index, each in enumerate(mix):
        crowd = Crowd(
            name=each.name,
            mix=each,
            target=_target(each, targets),
            first=first,
            count=counts[index],
            extra=tuple(wave[index] for wave in coming),
        )
        made.append(crowd)
        first += crowd.numbers
    return made


def most_at_once(scenario: Scenario) -> int:
    """Return the most clients that there are at any moment of a scenario."""
    count = scenario.clients.count
    waves = [fault for fault in scenario.timeline if fault.do == "clients"]
    return count + max(
        (
            sum(round(count * (wave.times - 1)) for wave in waves if wave.at <= then.at <= leaving(wave))
            for then in waves
        ),
        default=0,
    )


def leaving(wave: Fault) -> float:
    """Return the second at which the clients that an entry of the timeline let come leave again."""
    return wave.at + max(wave.over, wave.lasts)


def _target(mix: Mix, targets: Sequence[str]) -> int:
    """Return the way in; `default` is the last one: the edge where there is one."""
    return len(targets) - 1 if mix.via == "default" else targets.index(mix.via)


def processes_for(most: int, capacity: int) -> int:
    """Return how many processes play `most` clients at once on this machine; `capacity` is a process's file limit."""
    room = max(1, min(MOST_STREAMS, capacity - RESERVE))
    return max(math.ceil(most / room), min(2, os.cpu_count() or 1) if most > ALONE else 1)


def portion(crowd: Crowd, process: int, processes: int) -> Portion:
    """Return what process number `process` of all has of a crowd; the numbers of each are in one row."""
    counts = [_part(count, process, processes) for count in (crowd.count, *crowd.extra)]
    before = sum(
        _part(count, earlier, processes) for earlier in range(process) for count in (crowd.count, *crowd.extra)
    )
    mix = crowd.mix
    group = Group(
        name=crowd.name,
        model=MODELS[mix.model],
        target=crowd.target,
        first=crowd.first + before,
        count=sum(counts),
        stays=mix.stays,
        away=mix.away,
        slow=None if mix.slow is None else Slow(reads_every=mix.slow.every, bytes=mix.slow.bytes),
        fetches=mix.fetches,
        loads=mix.loads,
    )
    return Portion(group, counts[0], tuple(counts[1:]))


def _part(count: int, process: int, processes: int) -> int:
    """Return the part of `count` that process number `process` has; earlier ones have one more where it is uneven."""
    return count // processes + (process < count % processes)
