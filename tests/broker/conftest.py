"""What the tests of the broker's side share: tables without migrations, and clients that are always closed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from publisher.database import Database
from publisher.models import Base


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database with its tables, once of each kind."""
    database = Database(database_url)
    async with database.write() as session:
        await (await session.connection()).run_sync(Base.metadata.create_all)
    yield database
    await database.close()
