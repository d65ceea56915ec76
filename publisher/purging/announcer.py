"""Purge before announce: an announcer that makes every edge forget an environment's documents first.

Purging alone would not do. An edge fetches from the stream servers, and these serve the old document until they hear
of the new version; were they told after the purge, a request in between would fill the edge with the old one for long.
So, for each version, after its commit:

1. *foretell* it to the stream servers, which from then on serve no older document and tell no stream;
2. wait `lead` seconds for that to spread, and for answers from before to be through;
3. purge all edges at once, `tiers` times where edges stand behind each other: an outer one that was purged first may
   have been filled by an inner one that was not yet;
4. announce.

Nothing is remembered but purges to repeat: who is killed in between leaves the row in the outbox, and the next relay
begins anew. `again` seconds after the announcement the purge is repeated, with nobody waiting for it, for an answer
that was on its way to an edge longer than `lead`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from typing import Final, Protocol

from nats import errors

from flagstream.logs import get_logger
from publisher import messages
from publisher.announcer import NotAnnouncedError
from publisher.purging.queue import MOST, EdgePurges

__all__ = ["PurgeFirst"]

log = get_logger(__name__)

TELL: Final = 60.0
"""Seconds between two lines that say the same; the counter has all."""

FLUSH: Final = 2
"""Seconds that NATS has to take over what is foretold."""


class Announces(Protocol):
    """The announcer behind."""

    async def announce(self, key: str, version: int) -> int:
        """Bring the broker to `version` at least and return what it holds; raises `NotAnnouncedError`."""

    def forget(self) -> None:
        """Forget what was known of the broker."""


class Tells(Protocol):
    """What is needed of the NATS client."""

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send a message."""

    async def flush(self, timeout: int = ...) -> None:  # noqa: ASYNC109 - nats-py has it so
        """Wait until the server has everything."""


class PurgeFirst:
    """Announces like the announcer it wraps, after purging `edges`; `run` is a task of the caller's.

    `unpurged` counts announcements that did not wait for every edge any longer.
    """

    def __init__(
        self,
        announcer: Announces,
        client: Tells,
        edges: Sequence[EdgePurges],
        *,
        lead: float,
        tiers: int = 1,
        again: float = 0.0,
    ) -> None:
        self.edges = tuple(edges)
        self.unpurged = 0
        self._announcer = announcer
        self._client = client
        self._lead = lead
        self._tiers = tiers
        self._again = again
        self._repeats: dict[str, float] = {}  # surrogate key to the moment of the loop, in the order of the moments
        self._more = asyncio.Event()
        self._told_at = -math.inf

    async def announce(self, key: str, version: int) -> int:
        """Foretell, purge, announce; raises `NotAnnouncedError` when NATS does not take it."""
        await self._foretell(key, version)
        await asyncio.sleep(self._lead)
        name = messages.surrogate_key("document", key)
        purged = await self._purge(name)
        held = await self._announcer.announce(key, version)
        self._note(purged=purged)
        self._repeat(name)
        return held

    def forget(self) -> None:
        """Forget what was known of the broker."""
        self._announcer.forget()

    @property
    def fault(self) -> str:
        """Say which edges are not purged, and why; empty when all are."""
        return "; ".join(f"{edge.name}: {edge.fault}, {edge.waiting} wait" for edge in self.edges if edge.fault)

    async def run(self) -> None:
        """Purge for ever; raises only on faults of the program."""
        async with asyncio.TaskGroup() as group:
            for edge in self.edges:
                group.create_task(edge.run(), name=f"purges of {edge.name}")
            group.create_task(self._run_repeats(), name="repeated purges")

    async def _foretell(self, key: str, version: int) -> None:
        try:
            await self._client.publish(messages.foretold_subject(key), messages.encode(version))
            await self._client.flush(FLUSH)
        except (errors.Error, OSError, TimeoutError) as error:
            raise NotAnnouncedError(str(error) or type(error).__name__) from error

    async def _purge(self, name: str) -> bool:
        """Purge all edges, tier by tier, within the patience of one; tell whether every one did it."""
        began = asyncio.get_running_loop().time()
        for _ in range(self._tiers):
            if not all(await asyncio.gather(*(edge.purge(name, since=began) for edge in self.edges))):
                return False
        return True

    def _note(self, *, purged: bool) -> None:
        if purged:
            return
        self.unpurged += 1
        now = asyncio.get_running_loop().time()
        if now - self._told_at > TELL:
            self._told_at = now
            reason = self.fault or "more purges wait than an edge takes in time"
            log.error("changes are announced although an edge is not purged; it may serve old flags", reason=reason)

    def _repeat(self, name: str) -> None:
        """Have `name` purged again later."""
        if not self._again:
            return
        self._repeats.pop(name, None)
        self._repeats[name] = asyncio.get_running_loop().time() + self._again
        while len(self._repeats) > MOST:
            del self._repeats[next(iter(self._repeats))]
        self._more.set()

    async def _run_repeats(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._repeats and next(iter(self._repeats.values())) <= now:
                name = next(iter(self._repeats))
                del self._repeats[name]
                for edge in self.edges:
                    edge.later(name)
            self._more.clear()
            pause = next(iter(self._repeats.values())) - now if self._repeats else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._more.wait()
