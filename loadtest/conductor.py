"""Conducts a run: leads the swarm along the scenario's timeline, publishes, and joins what was measured."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from loadtest import results
from loadtest.changes import Changes
from loadtest.clock import RunClock
from loadtest.collecting import Collector
from loadtest.commission import Plan, described
from loadtest.composing import composed
from loadtest.curves import Outside
from loadtest.dividing import Crowd, crowds, most_at_once
from loadtest.hearing import Hearing
from loadtest.limits import Cores, limits, sharing
from loadtest.mustering import Hosts, muster
from loadtest.progress import Progress
from loadtest.publishing import SIGNATURES
from loadtest.servers import Servers
from loadtest.stack import Stack
from loadtest.targets import targets
from loadtest.telling import tell
from loadtest.timeline import Timeline
from loadtest.troop import Troop
from loadtest.verdict import verdict

__all__ = ["conduct"]

TURN: Final = 0.25

COUNTED_WITHIN: Final = 0.3
"""Seconds until servers tell of the last requests: workers add up what they counted four times a second."""


async def conduct(plan: Plan, stack: Stack, progress: Progress, stop: asyncio.Event) -> results.Results:
    """Make the run and return what came of it; `stop` ends it early, and what was measured until then is returned.

    Raises `GeneratorError` where the generators cannot be started.
    """
    made = crowds(plan.scenario, list(stack.urls))
    hosts = Hosts(plan.processes, plan.agents, plan.token, plan.command)
    async with muster(hosts, made, most_at_once(plan.scenario)) as (troop, rss_begin):
        return await _Run(plan, stack, made, troop, progress=progress, stop=stop).made(rss_begin)


class _Run:
    """One run, from the moment at which all generators are ready."""

    def __init__(
        self,
        plan: Plan,
        stack: Stack,
        made: Sequence[Crowd],
        troop: Troop,
        *,
        progress: Progress,
        stop: asyncio.Event,
    ) -> None:
        self._plan = plan
        self._scenario = plan.scenario
        self._stack = stack
        self._progress = progress
        self._stop = stop
        self._troop = troop
        self._servers = Servers(stack)
        self._changes = Changes(plan.scenario, stack, troop)
        self._collector = Collector(made, len(troop.generators), self._outside)
        self._cores = Cores() if plan.local else None
        self._troubles = 0
        self._hearing = Hearing(troop.generators, self._collector, self._say)
        progress.series = self._collector.curves.series

    def _outside(self) -> Outside:
        return self._servers.outside(self._changes.told.accepted)

    async def made(self, rss_begin: int | None) -> results.Results:
        """Make the run."""
        targets_ = targets(self._stack.urls)
        signature = secrets.randbelow(SIGNATURES)
        await self._servers.begin()
        self._clock = clock = RunClock.start()
        self._troop.start(targets_, self._stack.environments, clock, signature, self._scenario.seed)
        self._troop.open(self._scenario.clients.open_over)
        listening = self._hearing.begin()
        around = [asyncio.create_task(self._servers.watch()), asyncio.create_task(self._keep_telling())]
        try:
            await self._through(clock, signature)
            self._progress.phase = "finishing"
            self._troop.stop()
            await self._hearing.last_words(listening)
            if self._servers.tell:
                await asyncio.sleep(COUNTED_WITHIN)
                await self._servers.finish()
            for task in (*listening, *around):
                if task.done():
                    task.result()  # whoever failed unforeseen is heard
        finally:
            for task in (*listening, *around):
                task.cancel()
            await asyncio.gather(*listening, *around, return_exceptions=True)
        self._collector.finish()
        self._tell()
        return self._judged([target.name for target in targets_], rss_begin)

    async def _through(self, clock: RunClock, signature: int) -> None:
        """Go through the scenario until its end, or until something ends it early."""
        timeline = Timeline(
            self._scenario.timeline,
            clock=clock,
            stack=self._stack,
            swarm=self._troop,
            begin=lambda aftermath, hurts: self._collector.begin(aftermath, hurts=hurts),
            say=self._say,
        )
        working = [
            asyncio.create_task(timeline.run(), name="timeline"),
            asyncio.create_task(self._changes.publish(clock, signature), name="publishing"),
        ]
        ending = [
            asyncio.create_task(clock.until(self._scenario.seconds)),
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._hearing.broken.wait()),
        ]
        try:
            waiting = {*working, *ending}
            while not any(task.done() for task in ending):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            if not self._is_over:
                self._progress.phase = "settling"
                self._troop.settle()
                await self._settled(clock, working[1], timeline)
        finally:
            for task in (*working, *ending):
                task.cancel()
            await asyncio.gather(*working, *ending, return_exceptions=True)

    @property
    def _is_over(self) -> bool:
        return self._stop.is_set() or self._hearing.broken.is_set()

    async def _settled(self, clock: RunClock, publishing: asyncio.Task[None], timeline: Timeline) -> None:
        """Wait until all is answered and done and nobody who follows is behind, as long as the scenario allows."""
        until = clock.now() + self._scenario.settle
        seen = clock.now()
        while clock.now() < until and not self._is_over:
            is_new = self._collector.at > seen + TURN  # a sample from before the last change knows nothing of it
            levels = self._collector.whole.total.levels
            is_under_way = timeline.is_busy or not publishing.done()
            if not is_under_way and is_new and not levels["behind"] + levels["new"]:
                return
            if is_under_way:
                seen = clock.now()
            await asyncio.sleep(TURN / 5)

    async def _keep_telling(self) -> None:
        while True:
            self._tell()
            for trouble in self._stack.troubles()[self._troubles :]:
                self._troubles += 1
                self._say(trouble)
            if self._cores is not None:
                self._cores.look()
            await asyncio.sleep(TURN)

    def _tell(self) -> None:
        """Keep what the live view shows up to date."""
        progress = self._progress
        progress.at = self._clock.now()
        if progress.phase in {"starting", "opening", "running"}:
            progress.phase = "opening" if progress.at < self._scenario.clients.open_over else "running"
        tell(self._collector.whole.total, progress)

    def _say(self, sentence: str) -> None:
        self._progress.said.append((self._clock.now(), sentence))

    def _judged(self, names: list[str], rss_begin: int | None) -> results.Results:
        """Return the results, with the verdict that thresholds and the run itself lead to."""
        own = list(limits(self._collector.own, self._changes.told))
        shared = list(sharing(self._cores))
        fields = composed(
            self._collector,
            targets=names,
            clock_error=self._troop.clock_error,
            rss_begin=rss_begin,
            was_the_limit=bool(own),
            shared_cores=bool(shared),
        )
        found = results.Results(
            name=self._plan.name,
            title=self._scenario.title,
            verdict="passed",
            warnings=own + shared,
            requests=self._servers.requests(fields["streams"].requests, fields["groups"]),
            publishing=self._changes.told.results(),
            server=self._servers.processes(),
            scenario=described(self._scenario),
            provenance=dict(self._plan.provenance),
            **fields,
        )
        return verdict(
            found,
            self._scenario.thresholds,
            [*self._hearing.reasons, *self._stack.troubles()],
            published=bool(self._stack.publisher_url),
            interrupted=self._stop.is_set(),
        )
