"""What the servers of the run used and said, seen from outside while it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtest import results
from loadtest.curves import Outside
from loadtest.sampling import Sampler
from loadtest.stack import Figures, Stack

__all__ = ["Servers"]

LOOK_EVERY: Final = 0.25
ASK_EVERY: Final = 1.0
TRIES: Final = 5
"""How often they are asked for what a run begins and ends with: who is held up for a second has said nothing."""

EDGE: Final = "edge"


@dataclass(slots=True)
class _Program:
    cpu_begin: float
    rss_begin: int
    cpu: float = 0.0
    rss: int = 0
    rss_peak: int = 0
    cores: float = 0.0


class Servers:
    """Watches a stack: CPU and memory of its programs, and the figures that they tell."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sampler = Sampler(stack.pids)
        self._programs: dict[str, _Program] = {}
        self._looked = 0.0
        self._first = Figures()
        self._last: dict[str, int] = {}
        self._streams_peak: int | None = None
        self._clients_peak: int | None = None
        self._streams: int | None = None

    @property
    def tell(self) -> bool:
        """Whether they say how many requests came to them."""
        return self._first.origin_requests is not None or self._first.edge_requests is not None

    async def begin(self) -> None:
        """Take what there is before the run."""
        self.look()
        self._first = await self._whole()

    async def finish(self) -> None:
        """Hear what the servers say at the end."""
        self._hear(await self._whole())

    async def _whole(self) -> Figures:
        """Ask until the origin has answered, and the edge where there is one; servers of others never do."""
        for _ in range(TRIES):
            figures = await self._stack.figures()
            if figures.origin_requests is not None and (
                figures.edge_requests is not None or EDGE not in self._stack.urls
            ):
                break
        return figures

    def look(self) -> None:
        """See what the programs use now."""
        now = time.monotonic()
        lasted, self._looked = now - self._looked, now
        for name, usage in self._sampler.sample().items():
            program = self._programs.get(name)
            if program is None:
                program = self._programs[name] = _Program(usage.cpu, usage.rss, cpu=usage.cpu)
            program.cores = max(0.0, usage.cpu - program.cpu) / lasted
            program.cpu, program.rss = usage.cpu, usage.rss
            program.rss_peak = max(program.rss_peak, usage.rss)

    async def watch(self) -> None:
        """Look and ask for ever; what is asked never holds up the looking."""

        async def asking() -> None:
            while True:
                await self.ask()
                await asyncio.sleep(ASK_EVERY)

        async with asyncio.TaskGroup() as group:
            group.create_task(asking())
            while True:
                await asyncio.sleep(LOOK_EVERY)
                self.look()

    async def ask(self) -> None:
        """Hear what the servers say."""
        self._hear(await self._stack.figures())

    def _hear(self, figures: Figures) -> None:
        for name, value in _requests(figures).items():
            if value is not None:
                self._last[name] = value
        self._streams = figures.origin_streams
        self._streams_peak = _more(self._streams_peak, figures.origin_streams)
        self._clients_peak = _more(self._clients_peak, figures.edge_clients)

    def outside(self, published: int) -> Outside:
        """Return what is known of this moment."""
        return Outside(
            published=published,
            cpu={name: program.cores for name, program in self._programs.items()},
            rss={name: program.rss for name, program in self._programs.items()},
            origin_streams=self._streams,
        )

    def requests(self, sent: int, groups: Sequence[results.GroupResults] = ()) -> results.Requests:
        """Return the requests for streams on each side; `sent` is what clients asked, and `groups` which way."""
        to_edge = sum(group.streams.requests for group in groups if group.via == EDGE)
        return results.Requests(
            sent=sent,
            sent_to_edge=to_edge if any(group.via == EDGE for group in groups) else None,
            origin=self._since("origin"),
            edge=self._since("edge"),
            edge_sent_on=self._since("edge_sent_on"),
            origin_streams_peak=self._streams_peak,
            edge_clients_peak=self._clients_peak,
        )

    def _since(self, name: str) -> int | None:
        first, last = _requests(self._first)[name], self._last.get(name)
        return None if first is None or last is None else last - first

    def processes(self) -> list[results.Process]:
        """Return what each program used over the run."""
        return [
            results.Process(
                name=name,
                cpu_s=round(program.cpu - program.cpu_begin, 3),
                rss_peak=program.rss_peak,
                rss_begin=program.rss_begin,
                rss_end=program.rss,
            )
            for name, program in self._programs.items()
        ]


def _requests(figures: Figures) -> dict[str, int | None]:
    return {
        "origin": figures.origin_requests,
        "edge": figures.edge_requests,
        "edge_sent_on": figures.edge_sent_on,
    }


def _more(peak: int | None, now: int | None) -> int | None:
    return peak if now is None else now if peak is None else max(peak, now)
