"""How everything is changed: one transaction holds the change, its lines in the change log and the announcements.

    async with store.change("alice") as change:
        await states.update(change, key, "checkout", enabled=True)

When the block ends the transaction is committed and the relay told, in that order; when it raises, nothing happened.

PostgreSQL runs writers side by side, so each takes locks in one order: project, then its environments by id, then
states, then announcements by key. Two writers of an environment then commit in the order of their versions, and none
waits for the other in a circle. SQLite has one writer at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from publisher import outbox
from publisher.changes import Action
from publisher.database import Database
from publisher.messages import now
from publisher.models import Change

__all__ = ["Relay", "Store", "Transaction", "Where"]


class Relay(Protocol):
    """What a writer needs of the relay."""

    @property
    def id(self) -> str:
        """The name under which this process claims announcements."""

    def push(self, versions: Mapping[str, int]) -> None:
        """Publish these versions by environment key now; called after the commit that claimed them."""


@dataclass(frozen=True, slots=True)
class Where:
    """What a line of the change log is about, by the names of that moment."""

    project: str | None = None
    environment: str | None = None
    environment_key: str | None = None
    feature: str | None = None


# Made once, and run on the bare connection: building a statement takes longer than SQLite needs to run it.
_LINE = insert(cast("Table", Change.__table__))


@dataclass(slots=True)
class Transaction:
    """One writing transaction in the name of `actor`; `at` is its moment in microseconds.

    `connection` is the session's own, for statements that have to be quick.
    """

    session: AsyncSession
    connection: AsyncConnection
    actor: str
    at: int
    _database: Database
    _claim: str
    announced: dict[str, int] = field(default_factory=dict)

    @property
    def runs_beside_others(self) -> bool:
        """Tell whether other writers may be at work now, so that what is read has to be locked first."""
        return not self._database.is_sqlite

    async def announce(self, key: str, *, at_least: int | None = None) -> int:
        """Give environment `key` a new version, which the relay announces after the commit, and return it.

        With `at_least`, a version from outside, it becomes that one where that one is newer.
        """
        version = await outbox.advance(self._database, self.session, key, at_least=at_least, claim=self._claim)
        self.announced[key] = version
        return version

    async def log(
        self, action: Action, where: Where, *, before: Any = None, after: Any = None, version: int | None = None
    ) -> None:
        """Write one line of the change log; `version` is the one that announces this change."""
        await self.connection.execute(
            _LINE,
            {
                "at": self.at,
                "actor": self.actor,
                "action": action,
                "project": where.project,
                "environment": where.environment,
                "environment_key": where.environment_key,
                "feature": where.feature,
                "before": before,
                "after": after,
                "version": version,
            },
        )


class Store:
    """The database with the relay behind it: the way in for the API and for the dashboard."""

    def __init__(self, database: Database, relay: Relay, *, on_write: Callable[[float], None] | None = None) -> None:
        self.database = database
        self._relay = relay
        self._on_write = on_write

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session for reading."""
        return self.database.read()

    @asynccontextmanager
    async def change(self, actor: str) -> AsyncIterator[Transaction]:
        """Open one writing transaction; commit it, then tell the relay what it announced."""
        began = now()
        async with self.database.write() as session:
            connection = await session.connection()
            transaction = Transaction(session, connection, actor, now(), self.database, self._relay.id)
            yield transaction
        if transaction.announced:
            self._relay.push(transaction.announced)
        if self._on_write is not None:
            self._on_write((now() - began) / 1_000_000)
