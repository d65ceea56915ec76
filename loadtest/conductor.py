"""Conducts a run: leads the swarm along the scenario's timeline, publishes, and joins what was measured."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loadtest import results
from loadtest.announcing import Announcer
from loadtest.aside import aside
from loadtest.clock import RunClock
from loadtest.collecting import Collector
from loadtest.composing import composed
from loadtest.curves import Outside
from loadtest.dividing import Crowd, crowds, most_at_once
from loadtest.generators import COMMAND, GeneratorError
from loadtest.limits import Cores, limits, sharing
from loadtest.messages import Ended, Failed, Sample
from loadtest.mustering import Hosts, muster
from loadtest.progress import Progress
from loadtest.publishing import SIGNATURES, Announcements, planned, publish, surges
from loadtest.scenario.schema import Scenario
from loadtest.servers import Servers
from loadtest.stack import Stack
from loadtest.targets import targets
from loadtest.telling import tell
from loadtest.timeline import Timeline
from loadtest.troop import Troop
from loadtest.verdict import verdict

__all__ = ["Plan", "conduct", "failed"]

TURN: Final = 0.25
ENDS_WITHIN: Final = 30.0
"""Seconds for the generators to say their last word."""

COUNTED_WITHIN: Final = 0.3
"""Seconds until servers tell of the last requests: workers add up what they counted four times a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run, and with what."""

    name: str
    scenario: Scenario
    processes: int | None = None
    """How many generators; None for as many as it takes."""
    agents: Sequence[str] = ()
    """``HOST:PORT`` of agents that start them on other hosts; none: this host."""
    token: str = ""
    """The agents' token."""
    command: Sequence[str] = COMMAND
    local: bool = False
    """Whether the servers run on this host, and share its cores."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def failed(plan: Plan, reason: str, *, interrupted: bool = False) -> results.Results:
    """Return the results of a run that could not begin."""
    return results.Results(
        name=plan.name,
        title=plan.scenario.title,
        verdict="interrupted" if interrupted else "failed",
        reasons=[reason],
        scenario=described(plan.scenario),
        provenance=dict(plan.provenance),
    )


async def conduct(plan: Plan, stack: Stack, progress: Progress, stop: asyncio.Event) -> results.Results:
    """Make the run and return what came of it; `stop` ends it early, and what was measured until then is returned.

    Raises `GeneratorError` where the generators cannot be started.
    """
    made = crowds(plan.scenario, list(stack.urls))
    hosts = Hosts(plan.processes, plan.agents, plan.token, plan.command)
    async with muster(hosts, made, most_at_once(plan.scenario)) as (troop, rss_begin):
        return await _Run(plan, stack, made, troop, progress=progress, stop=stop).made(rss_begin)


def described(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as results have it: what TOML could say, without what does not apply."""
    endless = {"publish": {"until"}} if scenario.publish.until == math.inf else None  # JSON has no infinity
    return scenario.model_dump(mode="json", exclude_none=True, exclude=endless)


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
        self._announced = Announcements()
        self._collector = Collector(made, len(troop.generators), self._outside)
        self._cores = Cores() if plan.local else None
        self._reasons: list[str] = []
        self._broken = asyncio.Event()
        """A generator has failed, and the run with it."""
        self._accepted: list[tuple[int, int]] = []
        progress.series = self._collector.curves.series

    def _outside(self) -> Outside:
        return self._servers.outside(self._announced.accepted)

    async def made(self, rss_begin: int | None) -> results.Results:
        """Make the run."""
        targets_ = targets(self._stack.urls)
        signature = secrets.randbelow(SIGNATURES)
        await self._servers.begin()
        self._clock = clock = RunClock.start()
        self._troop.start(targets_, self._stack.environments, clock, signature, self._scenario.seed)
        self._troop.open(self._scenario.clients.open_over)
        listening = [
            asyncio.create_task(self._listen(process), name=f"generator {process}")
            for process in range(len(self._troop.generators))
        ]
        around = [asyncio.create_task(self._servers.watch()), asyncio.create_task(self._keep_telling())]
        try:
            await self._through(clock, signature)
            self._progress.phase = "finishing"
            self._troop.stop()
            _, late = await asyncio.wait(listening, timeout=ENDS_WITHIN)
            if self._servers.tell:
                await asyncio.sleep(COUNTED_WITHIN)
                await self._servers.ask()
            if late:
                self._reasons.append(f"{len(late)} of {len(listening)} generators did not say their last word")
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
            asyncio.create_task(self._publish(clock, signature), name="publishing"),
        ]
        ending = [
            asyncio.create_task(clock.until(self._scenario.seconds)),
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._broken.wait()),
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
                await self._settled(clock, working[1])
        finally:
            for task in (*working, *ending):
                task.cancel()
            await asyncio.gather(*working, *ending, return_exceptions=True)

    @property
    def _is_over(self) -> bool:
        return self._stop.is_set() or self._broken.is_set()

    async def _settled(self, clock: RunClock, publishing: asyncio.Task[None]) -> None:
        """Wait until all changes are answered and nobody who follows is behind, as long as the scenario allows."""
        until = clock.now() + self._scenario.settle
        seen = clock.now()
        while clock.now() < until and not self._is_over:
            is_new = self._collector.at > seen + TURN  # a sample from before the last change knows nothing of it
            levels = self._collector.whole.total.levels
            if publishing.done() and is_new and not levels["behind"] + levels["new"]:
                return
            if not publishing.done():
                seen = clock.now()
            await asyncio.sleep(TURN / 5)

    async def _publish(self, clock: RunClock, signature: int) -> None:
        scenario, stack = self._scenario, self._stack
        if not stack.publisher_url:
            return
        here = asyncio.get_running_loop()

        async def publishing() -> None:
            announcer = Announcer(stack.publisher_url, stack.sse_token)
            try:
                await publish(
                    planned(
                        scenario.publish,
                        len(stack.environments),
                        scenario.seconds,
                        scenario.seed,
                        surges(scenario.timeline),
                    ),
                    stack.environments,
                    announcer,
                    clock=clock,
                    signature=signature,
                    told=self._announced,
                    accepted=lambda index, version: here.call_soon_threadsafe(self._is_accepted, index, version),
                )
            finally:
                await announcer.close()

        await aside(publishing)

    def _is_accepted(self, environment: int, version: int) -> None:
        """Tell the generators; what is accepted in one turn of the loop goes out together."""
        if not self._accepted:
            asyncio.get_running_loop().call_soon(self._tell_accepted)
        self._accepted.append((environment, version))

    def _tell_accepted(self) -> None:
        versions, self._accepted = self._accepted, []
        self._troop.published(versions)

    async def _listen(self, process: int) -> None:
        """Take what one generator says, until its last word."""
        generator = self._troop.generators[process]
        try:
            while True:
                match await generator.receive():
                    case Sample() as sample:
                        self._collector.take(sample)
                    case Ended(lost=lost):
                        self._collector.ended(lost)
                        return
                    case Failed(reason=reason):
                        self._lose(process, f"{generator.name} cannot go on: {reason}")
                        return
        except GeneratorError as error:
            self._lose(process, str(error))

    def _lose(self, process: int, reason: str) -> None:
        """End the run for want of a generator: nobody knows what its clients would have seen."""
        self._reasons.append(reason)
        self._say(reason)
        self._collector.gone(process)
        self._broken.set()

    async def _keep_telling(self) -> None:
        while True:
            self._tell()
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
        own = list(limits(self._collector.own, self._announced))
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
            requests=self._servers.requests(fields["streams"].requests),
            publishing=self._announced.results(),
            server=self._servers.processes(),
            scenario=described(self._scenario),
            provenance=dict(self._plan.provenance),
            **fields,
        )
        return verdict(
            found,
            self._scenario.thresholds,
            self._reasons,
            published=bool(self._stack.publisher_url),
            interrupted=self._stop.is_set(),
        )
