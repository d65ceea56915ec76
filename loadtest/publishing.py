"""Publishing in an open model: every change has its time, and is sent then, whatever became of the ones before.

A change's version is the time at which it was to be published, so what a busy machine delays is in the figures.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from loadtest import results
from loadtest.announcing import AnnounceError, Announcer
from loadtest.clock import RunClock
from loadtest.histogram import Histogram
from loadtest.messages import Environment
from loadtest.scenario.schema import Fault, Publishing

__all__ = ["LATE", "SIGNATURES", "Announcements", "Surge", "planned", "publish", "surges"]

LATE: Final = 0.05
"""Seconds after its time at which a change that is sent counts as late."""

SHARP_ABOVE: Final = 0.02
"""Seconds between two changes from which on they are sent to a tenth of a millisecond."""

SIGNATURES: Final = 1_000
"""How many signatures there are: each run's versions end in its own three digits."""

UNANSWERED: Final = "not answered before the end"
_ENDLESS: Final = 1e18


@dataclass(frozen=True, slots=True)
class Surge:
    """Publishing at `times` the rate from `begin` until `end`, in seconds of the run."""

    begin: float
    end: float
    times: float


def surges(timeline: Sequence[Fault]) -> list[Surge]:
    """Return what a timeline does to the rate; an entry that lasts 0 seconds lasts until the end."""
    return [
        Surge(fault.at, fault.at + fault.lasts if fault.lasts else math.inf, fault.times)
        for fault in timeline
        if fault.do == "rate"
    ]


def planned(
    publish: Publishing, environments: int, until: float, seed: int, rises: Sequence[Surge] = ()
) -> Iterator[tuple[float, int]]:
    """Yield each change: its second of the run, and the index of its environment; those of one second in one go."""
    if not publish.rate:
        return
    chance = Random(seed)  # noqa: S311 - a load, not a secret
    end = min(until, publish.until) - 1e-6  # sums of fractions end a little before a round second
    edges = sorted({moment for rise in rises for moment in (rise.begin, rise.end)})
    at = publish.start
    turn = 0
    if publish.arrivals == "poisson":
        at = _after(publish, at, chance.expovariate(1.0), rises, edges)
    while at < end:
        if publish.to == "all":
            yield from ((at, index) for index in range(environments))
        elif publish.to == "random":
            yield at, chance.randrange(environments)
        else:
            yield at, turn
            turn = (turn + 1) % environments
        work = chance.expovariate(1.0) if publish.arrivals == "poisson" else 1.0
        at = _after(publish, at, work, rises, edges)


def _after(publish: Publishing, at: float, work: float, rises: Sequence[Surge], edges: Sequence[float]) -> float:
    """Return the second at which the rate, summed up from second `at` on, comes to `work`."""
    for edge in [*(each for each in edges if each > at), _ENDLESS]:
        rate = publish.rate * math.prod(rise.times for rise in rises if rise.begin <= at < rise.end)
        if rate and at + work / rate <= edge:
            return at + work / rate
        work -= (edge - at) * rate
        at = edge
    return math.inf


@dataclass(slots=True)
class Announcements:
    """What became of the changes so far."""

    planned: int = 0
    sent: int = 0
    accepted: int = 0
    failed: int = 0
    late: int = 0
    took: Histogram = field(default_factory=Histogram)
    errors: dict[str, int] = field(default_factory=dict)

    def fail(self, kind: str) -> None:
        """Take that one was not accepted."""
        self.failed += 1
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def results(self) -> results.Publishing:
        """Return it as results have it."""
        times = {name: self.took.percentile(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
        return results.Publishing(
            planned=self.planned,
            sent=self.sent,
            accepted=self.accepted,
            failed=self.failed,
            late=self.late,
            errors=dict(self.errors),
            **{f"{name}_ms": None if took is None else round(took * 1e3, 3) for name, took in times.items()},
        )


async def publish(
    changes: Iterator[tuple[float, int]],
    environments: Sequence[Environment],
    announcer: Announcer,
    *,
    clock: RunClock,
    signature: int,
    told: Announcements,
    accepted: Callable[[int, int], object],
) -> None:
    """Send every change at its time; returns when the last has been answered.

    What is unanswered when this is cancelled has failed.

    All versions end in `signature` (below 1,000), by which the run's own are known, so times are moved to the next
    such microsecond. Two changes of one environment are never of the same one. `accepted` is called with the index of
    the environment and the version as soon as a change was answered 2xx.
    """
    newest = [0] * len(environments)
    before = -math.inf

    async def send(index: int, version: int) -> None:
        begun = clock.now()
        told.sent += 1
        told.late += begun - clock.second(version) > LATE
        try:
            await announcer.announce(environments[index].key, version)
        except AnnounceError as error:
            told.fail(str(error))
        except asyncio.CancelledError:
            told.fail(UNANSWERED)
            raise
        else:
            told.accepted += 1
            accepted(index, version)
        told.took.record(clock.now() - begun)

    async with asyncio.TaskGroup() as sending:
        for at, index in changes:
            version = max(_signed(clock.version(at), signature), newest[index] + SIGNATURES)
            newest[index] = version
            due = clock.second(version)
            # To be sharp costs a millisecond of CPU, which many changes a second do not leave.
            await (clock.sharply_until if due - before > SHARP_ABOVE else clock.until)(due)
            before = due
            told.planned += 1
            sending.create_task(send(index, version))


def _signed(version: int, signature: int) -> int:
    """Return the first version from `version` on that ends in the digits of `signature`."""
    return version + (signature - version) % SIGNATURES
