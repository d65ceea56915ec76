"""What every reader and writer relies on, on both databases; and PostgreSQL when it does not answer."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from sqlalchemy import text

from publisher import migrations, outbox
from publisher.database import Database
from publisher.relay import DATABASE_ERRORS
from tests.broker.conftest import opened, rows
from tests.servers import PostgresServer

pytestmark = pytest.mark.asyncio


async def test_a_reader_sees_one_committed_state_whatever_is_written_meanwhile(database: Database) -> None:
    async with database.read() as session:
        before = await outbox.waiting(session)
        async with database.write() as writing:
            await outbox.advance(database, writing, "e")
        assert await outbox.waiting(session) == before
    assert set(await rows(database)) == {"e"}


async def test_a_statement_that_postgresql_does_not_finish_fails_in_time_and_the_next_ones_work(
    postgres_server: PostgresServer,
) -> None:
    async with opened(postgres_server.create_database(), statement=0.3) as database:

        async def sleep() -> None:
            async with database.write() as session:
                await session.execute(text("SELECT pg_sleep(60)"))

        for _ in range(3):
            async with asyncio.timeout(20):
                with pytest.raises(TimeoutError):
                    await sleep()
        async with database.read() as session:
            assert (await session.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_connection_on_which_postgresql_falls_silent_fails_in_time_and_is_replaced(
    postgres_server: PostgresServer,
) -> None:
    async with opened(postgres_server.create_database(), statement=0.3) as database:

        async def ask(question: str) -> int:
            async with database.read() as session:
                return int((await session.execute(text(question))).scalar_one())

        silent = await ask("SELECT pg_backend_pid()")
        os.kill(silent, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                with pytest.raises(DATABASE_ERRORS):
                    await ask("SELECT 1")
                assert await ask("SELECT pg_backend_pid()") != silent
        finally:
            os.kill(silent, signal.SIGCONT)


async def test_a_migration_may_take_longer_than_a_statement_elsewhere(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    async with opened(url) as first, opened(url, statement=0.3) as second:
        async with first.write() as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": migrations.LOCK})
            waiting = asyncio.create_task(migrations.upgrade(second))
            assert not (await asyncio.wait([waiting], timeout=1))[0]
        await waiting
        assert await migrations.is_current(second)


async def test_a_single_statement_leaves_the_next_transaction_whole(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as session:
            await outbox.advance(database, session, "e")
            raise RuntimeError("no")

    async with database.one_statement() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM announcements"))).scalar_one() == 0
    with pytest.raises(RuntimeError, match="no"):
        await fail()
    assert await rows(database) == {}
