"""The relay: brings what waits in the outbox to the broker and marks it, for ever.

Two ways in. `push` comes from the writer right after its commit, with rows that the commit has claimed for this
relay: they are published without another look at the database. And every `poll_interval` the relay looks for rows
that nobody cared for: written by a process that was killed, or while NATS was away. The rows are the queue; what is
in memory is bounded and can be lost at any moment.

Marks are written after the acknowledgement and in batches, so that they slow no publish down.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy.exc import SQLAlchemyError

from flagstream.cancelling import cancel
from flagstream.logs import get_logger, key_id
from publisher import messages, outbox
from publisher.announcer import AheadError, NotAnnouncedError
from publisher.database import Database
from publisher.marks import Marks
from publisher.wanted import Wanted

__all__ = ["Announces", "Counters", "Relay"]

logger = get_logger(__name__)

BATCH: Final = 512
"""Environments claimed at once, and the most that wait in memory."""

GATHER: Final = 0.02
"""Seconds that acknowledgements are gathered before they are marked in one transaction."""

FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 1.0
"""Seconds of back-off; NATS may be back without JetStream, and what waited must arrive within 2 s of its return."""

DATABASE_ERRORS: Final = (SQLAlchemyError, OSError, TimeoutError)


class Announces(Protocol):
    """What the relay needs of the announcer."""

    async def announce(self, key: str, version: int) -> int:
        """Bring the broker to `version` at least and return what it holds; raises `NotAnnouncedError`."""

    def forget(self) -> None:
        """Forget what was known of the broker."""


@dataclass(slots=True)
class Counters:
    """What the relay has done since it began. `lag` is the last announcement's seconds from change to ack.

    `published`, `failed` and `blocked` count attempts to announce, `marked` the announcements that were written down
    as acknowledged, `database_errors` the looks and marks that the database failed.
    """

    published: int = 0
    failed: int = 0
    blocked: int = 0
    marked: int = 0
    database_errors: int = 0
    lag: float = 0.0


class Relay:
    """See the module's docstring. `id` is the name under which this process claims rows.

    Whoever holds the NATS client calls `connected` and `disconnected`, and runs `run` as a task of its own.
    """

    def __init__(
        self,
        database: Database,
        announcer: Announces,
        *,
        concurrency: int = 64,
        poll_interval: float = 1.0,
        clock: Callable[[], int] = messages.now,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.counters = Counters()
        self._database = database
        self._announcer = announcer
        self._concurrency = concurrency
        self._poll_interval = poll_interval
        self._clock = clock

        self._wanted = Wanted()
        self._marks = Marks(database)
        self._resting: dict[str, float] = {}  # not to be tried before this moment of the loop
        self._blocked: set[str] = set()  # of these the log has told

        self._look = asyncio.Event()
        self._connected = asyncio.Event()
        self._returned = asyncio.Event()
        self._stopped = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._wait = 0.0
        self._database_fails = False

    def push(self, versions: Mapping[str, int]) -> None:
        """Publish these environments now; called after the commit that claimed them for this relay."""
        if not self._connected.is_set() or len(self._wanted) >= BATCH:
            self._look.set()  # the rows wait in the database
            return
        for key, version in versions.items():
            self._wanted.add(key, version)

    def wake(self) -> None:
        """Look for waiting rows now."""
        self._look.set()

    def connected(self) -> None:
        """Begin at once with what waited: NATS is there, or there again."""
        self._announcer.forget()
        self._wait = 0.0
        self._resting.clear()
        self._connected.set()
        self._look.set()
        self._returned.set()

    def disconnected(self) -> None:
        """Leave everything in the database until NATS is back."""
        self._connected.clear()

    async def backlog(self) -> outbox.Waiting:
        """Return how much waits in the database, for all relays together; raises what the database raises."""
        async with self._database.read() as session:
            return await outbox.waiting(session)

    async def run(self) -> None:
        """Relay until `stop`; raises only on faults of the program."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._work(), name=f"relay {number}") for number in range(self._concurrency)]
            tasks += [group.create_task(self._poll(), name="relay poll"), group.create_task(self._mark())]
            await self._stopped.wait()
            await cancel(tasks)

    async def stop(self, grace: float = 1.0) -> None:
        """Try once more for at most `grace` seconds, then end `run`. What is left waits in the database."""
        with contextlib.suppress(TimeoutError, *DATABASE_ERRORS):
            async with asyncio.timeout(grace):
                if self._connected.is_set():
                    await self._claim()
                    await self._wanted.idle.wait()
                await self._write_marks()
        self._stopped.set()

    async def _work(self) -> None:
        while True:
            key = await self._wanted.take()
            while (version := self._wanted.newest(key)) is not None:
                await self._announce(key, version)
            self._wanted.done(key)

    async def _announce(self, key: str, version: int) -> None:
        if not self._connected.is_set():
            return
        try:
            held = await self._announcer.announce(key, version)
        except AheadError as error:
            self.counters.blocked += 1
            self._resting[key] = asyncio.get_running_loop().time() + outbox.LEASE
            if key not in self._blocked:
                self._blocked.add(key)
                logger.error("announcement blocked", environment=key_id(key), reason=error.reason)  # noqa: TRY400 - the reason says all
        except NotAnnouncedError as error:
            self.counters.failed += 1
            if self._connected.is_set() and not self._wait:
                logger.warning("announcements fail, trying on", reason=error.reason)
            self._wait = min(max(FIRST_WAIT, self._wait * 2), LONGEST_WAIT)
            self._look.set()
        else:
            self.counters.published += 1
            self.counters.lag = max(0.0, (self._clock() - version) / 1_000_000)
            self._wait = 0.0
            self._blocked.discard(key)
            self._marks.add(key, outbox.Held(held, self._clock()))

    async def _poll(self) -> None:
        """Look for waiting rows: when woken, every now and then, and with a growing random wait while it fails."""
        while True:
            await self._connected.wait()
            self._look.clear()
            self._returned.clear()
            try:
                await self._claim()
            except DATABASE_ERRORS as error:
                self._count_database_error(error)
                self._wait = min(max(FIRST_WAIT, self._wait * 2), LONGEST_WAIT)
            else:
                self._database_fails = False
                if self._wanted.idle.is_set():
                    self._wait = 0.0
            sign = self._returned if self._wait else self._look
            seconds = random.uniform(0, self._wait) if self._wait else self._poll_interval  # noqa: S311 - spreads retries
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await sign.wait()

    async def _claim(self) -> None:
        """Queue everything that waits and is free, batch by batch, each when the one before is through."""
        async with self._claiming:
            while self._connected.is_set():
                besides = self._taken()
                async with self._database.read() as session:
                    if not await outbox.anything_free(self._database, session, self.id, besides=besides):
                        return
                async with self._database.write() as session:
                    claimed = await outbox.claim(self._database, session, self.id, limit=BATCH, besides=besides)
                for key, version in claimed.items():
                    self._wanted.add(key, version)
                if len(claimed) < BATCH:
                    return
                await self._wanted.idle.wait()

    def _taken(self) -> set[str]:
        """Return the environments that need no look now: on their way, to be marked, or resting."""
        now = asyncio.get_running_loop().time()
        self._resting = {key: until for key, until in self._resting.items() if until > now}
        return {*self._wanted.keys(), *self._marks.keys(), *self._resting}

    async def _mark(self) -> None:
        while True:
            await self._marks.waiting.wait()
            await asyncio.sleep(GATHER)
            try:
                await self._write_marks()
            except DATABASE_ERRORS as error:
                self._count_database_error(error)
                await asyncio.sleep(random.uniform(FIRST_WAIT, LONGEST_WAIT))  # noqa: S311 - as above

    async def _write_marks(self) -> None:
        self.counters.marked += await self._marks.write()

    def _count_database_error(self, error: Exception) -> None:
        self.counters.database_errors += 1
        if not self._database_fails:
            self._database_fails = True
            logger.warning("the relay cannot reach the database, trying on", error=type(error).__name__)
