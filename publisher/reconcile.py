"""The database is the truth, the broker is not: compare the two, and mend the broker.

A broker can lose its disk, roll back acknowledged messages at a power loss, or be restored from an old copy; a
database can be restored from a backup. So on every connection and every so often the newest message of each subject is
compared with the version that the database has for each key ever announced. What the broker lacks is announced again.
Where the broker is ahead, the row is raised, so that the next change is newer than what clients have seen; keys that
only the broker knows are written down, so that they too can be announced again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from nats import errors
from nats.aio.client import Client

from flagstream.logs import get_logger
from publisher import messages, outbox
from publisher.announcer import NotAnnouncedError
from publisher.database import Database
from publisher.messages.broker import JetStreamError, Newest, read_newest
from publisher.provision import Provisioned
from publisher.relay import DATABASE_ERRORS

__all__ = ["Comparison", "Provisions", "Reconciler", "reconcile"]

logger = get_logger(__name__)

PAGE: Final = 2000
WRITTEN: Final = 500
"""Rows changed in one transaction: SQLite has one writer, and changes must not wait long for us."""

RETRY: Final = 1.0
"""Seconds until a comparison that failed is tried again."""


class Provisions(Protocol):
    """What a comparison needs of the announcer."""

    async def recheck(self) -> Provisioned:
        """Make the stream or check it anew; raises `NotAnnouncedError`."""

    def learn(self, newest: Newest) -> None:
        """Take over the sequences of a reading."""


class Wakes(Protocol):
    """What a comparison needs of the relay."""

    def wake(self) -> None:
        """Look for waiting rows now."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one comparison found, in environments; `invalid` counts messages that are no announcement.

    `behind` are announced again, `raised` got the broker's version, `adopted` were unknown to the database,
    `too_far_ahead`, in the database or in the broker, are silent until an operator resets them (`publisher.reset`).
    """

    compared: int = 0
    behind: int = 0
    raised: int = 0
    adopted: int = 0
    too_far_ahead: int = 0
    invalid: int = 0


async def reconcile(
    database: Database, client: Client, announcer: Provisions, *, clock: Callable[[], int] = messages.now
) -> Comparison:
    """Compare every key once and mend what differs; rows that are behind wait in the outbox afterwards.

    Raises `NotAnnouncedError`, `JetStreamError`, `TimeoutError`, nats-py's errors, and what the database raises.
    """
    await announcer.recheck()
    # The rows first: what they call announced was in the broker before it is read, so nothing looks lost that is not.
    rows = await _rows(database)
    newest = await read_newest(client)
    announcer.learn(newest)

    behind = {
        key: (version, newest.versions.get(key, 0))
        for key, (version, announced) in rows.items()
        if newest.versions.get(key, 0) < announced
    }
    now = clock()
    ahead, too_far = await _ahead(database, rows, newest.versions, now)
    # Ours as well: a clock that was wrong at a change leaves database and broker in agreement, and listeners deaf.
    too_far.update(key for key, (version, _) in rows.items() if messages.is_too_far_ahead(version, now))
    await _mend(database, behind, ahead)
    raised = sum(key in rows for key in ahead)
    return Comparison(len(rows), len(behind), raised, len(ahead) - raised, len(too_far), newest.invalid)


async def _ahead(
    database: Database, rows: dict[str, tuple[int, int]], held: dict[str, int], now: int
) -> tuple[dict[str, int], set[str]]:
    """Return what the broker holds and the database does not, and which environments are ahead beyond belief."""
    candidates = [key for key, version in held.items() if version > rows.get(key, (0, 0))[0]]
    ahead: dict[str, int] = {}
    too_far: set[str] = set()
    for start in range(0, len(candidates), PAGE):
        keys = candidates[start : start + PAGE]
        # Looked up again: most of them were changed and announced since the rows were read.
        async with database.read() as session:
            present = await outbox.versions(session, keys)
        for key in keys:
            version = present.get(key, 0)
            if held[key] <= version:
                continue
            if messages.is_too_far_ahead(held[key], max(now, version)):
                too_far.add(key)
            else:
                ahead[key] = held[key]
    return ahead, too_far


async def _rows(database: Database) -> dict[str, tuple[int, int]]:
    rows: dict[str, tuple[int, int]] = {}
    last = ""
    while True:
        async with database.read() as session:
            found = await outbox.page(session, last, PAGE)
        rows.update((key, (version, announced)) for key, version, announced in found)
        if len(found) < PAGE:
            return rows
        last = found[-1][0]


async def _mend(database: Database, behind: dict[str, tuple[int, int]], ahead: dict[str, int]) -> None:
    lost, found = list(behind.items()), list(ahead.items())
    for start in range(0, len(lost), WRITTEN):
        async with database.write() as session:
            await outbox.unannounce(session, dict(lost[start : start + WRITTEN]))
    for start in range(0, len(found), WRITTEN):
        async with database.write() as session:
            await outbox.adopt(database, session, dict(found[start : start + WRITTEN]))


class Reconciler:
    """Runs `reconcile` on every connection and every `interval` seconds; `last` is what it found, None before."""

    def __init__(
        self,
        database: Database,
        client: Client,
        announcer: Provisions,
        relay: Wakes,
        *,
        interval: float = 60.0,
        clock: Callable[[], int] = messages.now,
    ) -> None:
        self.last: Comparison | None = None
        self.fault = ""
        """Why the last comparison failed, empty when it did not: a stream configured otherwise is told here."""
        self._database = database
        self._client = client
        self._announcer = announcer
        self._relay = relay
        self._interval = interval
        self._clock = clock
        self._due = asyncio.Event()
        self._connected = asyncio.Event()

    def connected(self) -> None:
        """Compare now: NATS is there, or there again."""
        self._connected.set()
        self._due.set()

    def disconnected(self) -> None:
        """Wait for NATS."""
        self._connected.clear()

    async def run(self) -> None:
        """Compare for ever; raises only on faults of the program."""
        while True:
            await self._connected.wait()
            self._due.clear()
            wait = self._interval if await self._once() else RETRY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._due.wait()

    async def _once(self) -> bool:
        try:
            found = await reconcile(self._database, self._client, self._announcer, clock=self._clock)
        except (NotAnnouncedError, JetStreamError, errors.Error, *DATABASE_ERRORS) as error:
            fault = str(error) or type(error).__name__
            if self._connected.is_set() and fault != self.fault:
                logger.warning("broker and database could not be compared, trying on", reason=fault)
            self.fault = fault
            return False
        self.fault = ""
        self.last = found
        if found.behind:
            logger.warning("the broker had lost announcements, they are announced again", environments=found.behind)
        if found.raised or found.adopted:
            logger.info("the broker knew newer versions", raised=found.raised, adopted=found.adopted)
        if found.too_far_ahead:
            logger.error("versions are more than 300 s ahead, reset them", environments=found.too_far_ahead)
        self._relay.wake()
        return True
