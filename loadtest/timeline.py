"""The timeline of a scenario: each entry is done at its second, whatever the others take."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from loadtest.aftermath import Aftermath
from loadtest.clock import RunClock
from loadtest.command import run_command
from loadtest.dividing import leaving
from loadtest.scenario.schema import Fault
from loadtest.stack import Stack, StackError

__all__ = ["HURTING", "Swarm", "Timeline", "in_words"]

HURTING: Final = frozenset({"kill", "stop", "freeze", "deploy", "cut", "run"})
ENDING: Final = frozenset({"kill", "stop", "deploy", "run"})
"""What has an end of its own, which the end of the run should not come before."""


class Swarm(Protocol):
    """What an entry of the timeline may do to the clients."""

    def mark(self, number: int) -> None:
        """From now on, what is lost is lost to entry `number`."""

    def cut(self, share: float) -> None:
        """Break a share of all connections."""

    def come(self, wave: int, over: float) -> None:
        """Let the clients of the `wave`-th entry that brings clients (from 0) open their streams."""

    def go(self, wave: int) -> None:
        """Let as many leave again."""


class Timeline:
    """Does what it says to a stack and a swarm; `begin` is called with each entry that begins and whether it hurts."""

    def __init__(
        self,
        entries: Sequence[Fault],
        *,
        clock: RunClock,
        stack: Stack,
        swarm: Swarm,
        begin: Callable[[Aftermath, bool], None],
        say: Callable[[str], None],
    ) -> None:
        self._entries = entries
        self._clock = clock
        self._stack = stack
        self._swarm = swarm
        self._begin = begin
        self._say = say
        self._under_way = 0

    @property
    def is_busy(self) -> bool:
        """Whether something is being done that has an end of its own."""
        return self._under_way > 0

    async def run(self) -> None:
        """Do all; returns when the last has been done."""
        async with asyncio.TaskGroup() as group:
            wave = 0
            for number, entry in enumerate(self._entries, 1):
                group.create_task(self._entry(number, entry, wave))
                wave += entry.do == "clients"

    async def _entry(self, number: int, entry: Fault, wave: int) -> None:
        await self._clock.until(entry.at)
        hurts = entry.do in HURTING
        aftermath = Aftermath(number, self._clock.now(), in_words(entry))
        if hurts:
            self._swarm.mark(number)
        self._begin(aftermath, hurts)
        self._say(in_words(entry))
        self._under_way += entry.do in ENDING
        try:
            await self._do(entry, wave)
        except StackError as error:
            aftermath.error = str(error)
            self._say(f"could not {in_words(entry)}: {error}")
        except asyncio.CancelledError:
            if entry.do in ENDING:
                aftermath.error = f"it was not done {self._clock.now() - entry.at:.0f} s later, when the run ended"
            raise
        finally:
            self._under_way -= entry.do in ENDING

    async def _do(self, entry: Fault, wave: int) -> None:
        part = entry.part or "stream_server"
        match entry.do:
            case "kill":
                await self._stack.kill(part, entry.down)
            case "stop":
                await self._stack.stop(part, entry.down)
            case "freeze":
                await self._stack.freeze(part, entry.down)
            case "deploy":
                await self._stack.deploy()
            case "cut":
                self._swarm.cut(entry.share)
            case "clients":
                self._swarm.come(wave, entry.over)
                await self._clock.until(leaving(entry))
                self._swarm.go(wave)
                self._say("they leave again")
            case "rate":  # the plan of the changes has it
                await self._clock.until(entry.at + entry.lasts)
                self._say("the usual rate again")
            case "run":
                await run_command(entry.command)


def in_words(entry: Fault) -> str:
    """Return what an entry does, as ``kill worker``."""
    down = f", down for {entry.down:g} s" if entry.down else ""
    return {
        "kill": f"kill {entry.part}{down}",
        "stop": f"stop {entry.part}{down}",
        "freeze": f"freeze {entry.part} for {entry.down:g} s",
        "deploy": "deploy the stream server",
        "cut": f"cut {entry.share * 100:g} % of all connections",
        "clients": f"{entry.times:g} times as many clients within {entry.over:g} s",
        "rate": f"{entry.times:g} times the changes for {entry.lasts:g} s",
        "run": f"run {shlex.join(entry.command)}",
    }[entry.do]
