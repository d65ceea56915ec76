"""The database behind the publisher: SQLite by default, PostgreSQL by one setting.

Three ways in. `Database.read` sees one committed state. `Database.one_statement` does too, for less, because SQLite
begins nothing and every turn costs a change of threads. `Database.write` is one transaction that either happens whole
or not at all. SQLite allows one writer at a time; to wait for the turn at ``BEGIN`` instead of failing half-way
(``SQLITE_BUSY`` on an upgrade from reader to writer, SQLite docs, "BEGIN IMMEDIATE"), writers have an engine of their
own with one connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Float, cast, event, func, literal_column
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

__all__ = ["Database", "greatest", "seconds_now"]

WITHOUT_BEGIN = "without_begin"
CONNECT_TIMEOUT = 5.0
"""Seconds to connect to PostgreSQL, and to wait for a free connection of the pool."""


class Database:
    """Engines over one database URL (``sqlite:///FILE`` or ``postgresql://…``).

    A statement that PostgreSQL has not finished after `timeout` seconds fails (`TimeoutError`); None waits for ever.
    """

    def __init__(self, url: str, *, timeout: float | None = 10.0) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite:")
        if self.is_sqlite:
            self._reader = _sqlite_engine(_file(url), begin="BEGIN", pool_size=4)
            self._writer = _sqlite_engine(_file(url), begin="BEGIN IMMEDIATE", pool_size=1)
            self._single = self._reader.execution_options(**{WITHOUT_BEGIN: True})
        else:
            self._writer = create_async_engine(
                url.replace("postgresql://", "postgresql+asyncpg://", 1),
                pool_size=10,
                pool_pre_ping=True,
                pool_timeout=CONNECT_TIMEOUT,
                # A host that is gone answers nothing: without limits all connections would wait for it for minutes.
                connect_args={"timeout": CONNECT_TIMEOUT, "command_timeout": timeout},
            )
            # Over the same connections: PostgreSQL's default shows each statement another state.
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")
            self._single = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading."""
        async with AsyncSession(self._reader, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def one_statement(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for one reading statement, which sees one committed state without a transaction."""
        async with self._single.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open one writing transaction; it is committed when the block ends and rolled back when it raises."""
        async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @asynccontextmanager
    async def without_timeout(self) -> AsyncIterator[Database]:
        """Open the same database for statements that may take long; on SQLite it is this one."""
        if self.is_sqlite:
            yield self
            return
        unhurried = Database(self.url, timeout=None)
        try:
            yield unhurried
        finally:
            await unhurried.close()

    def probe(self) -> None:
        """Open an SQLite file once, here and now; raises `sqlite3.Error`.

        One that cannot be opened would leave the driver's thread behind, which then complains that the loop is gone.
        """
        if self.is_sqlite:
            with closing(sqlite3.connect(_file(self.url))) as connection:
                connection.execute("PRAGMA schema_version")

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        if self.is_sqlite:
            await self._reader.dispose()


def _file(url: str) -> str:
    """Return the path behind sqlite:///, to the letter: a folder may have a '%' or a '?' in its name."""
    return url.removeprefix("sqlite:///")


def _sqlite_engine(file: str, *, begin: str, pool_size: int) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=file)
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=0, pool_timeout=30)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        # The driver would begin transactions by itself, and only at the first write.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "busy_timeout = 10000",
            "journal_mode = WAL",
            "synchronous = FULL",  # what was answered 2xx survives a power loss
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        if not connection.get_execution_options().get(WITHOUT_BEGIN):
            connection.exec_driver_sql(begin)

    return engine


def seconds_now(database: Database) -> ColumnElement[float]:
    """Return SQL for the database's own clock in seconds, which several publisher hosts can agree on."""
    if database.is_sqlite:
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)")
    return cast(func.extract("epoch", func.clock_timestamp()), Float(53))


def greatest(database: Database, *of: Any) -> ColumnElement[int]:
    """Return SQL for the largest of several values."""
    return func.max(*of) if database.is_sqlite else func.greatest(*of)
