"""The changes of a run: published beside all else, and told to the generators as they are accepted."""

from __future__ import annotations

import asyncio

from loadtest.announcing import Announcer
from loadtest.aside import aside
from loadtest.clock import RunClock
from loadtest.publishing import Announcements, planned, publish, surges
from loadtest.scenario.schema import Scenario
from loadtest.stack import Stack
from loadtest.troop import Troop

__all__ = ["Changes"]


class Changes:
    """Publishes what a scenario says to the publisher of a stack; `told` is what became of it so far."""

    def __init__(self, scenario: Scenario, stack: Stack, troop: Troop) -> None:
        self._scenario = scenario
        self._stack = stack
        self._troop = troop
        self._accepted: list[tuple[int, int]] = []
        self.told = Announcements()

    async def publish(self, clock: RunClock, signature: int) -> None:
        """Publish all, each change at its time; returns when the last is answered, at once where nobody publishes."""
        scenario, stack = self._scenario, self._stack
        if not stack.publisher_url:
            return
        here = asyncio.get_running_loop()
        changes = planned(
            scenario.publish, len(stack.environments), scenario.seconds, scenario.seed, surges(scenario.timeline)
        )

        async def publishing() -> None:
            announcer = Announcer(stack.publisher_url, stack.sse_token)
            try:
                await publish(
                    changes,
                    stack.environments,
                    announcer,
                    clock=clock,
                    signature=signature,
                    told=self.told,
                    accepted=lambda index, version: here.call_soon_threadsafe(self._is_accepted, index, version),
                )
            finally:
                await announcer.close()

        await aside(publishing)

    def _is_accepted(self, environment: int, version: int) -> None:
        """Tell the generators; what is accepted in one turn of the loop goes out together."""
        if not self._accepted:
            asyncio.get_running_loop().call_soon(self._tell)
        self._accepted.append((environment, version))

    def _tell(self) -> None:
        versions, self._accepted = self._accepted, []
        self._troop.published(versions)
