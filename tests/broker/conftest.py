"""What the tests of the broker's side share: tables without migrations, and connections that are always closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from sqlalchemy import select

from publisher import messages
from publisher.announcer import Announcer
from publisher.database import Database
from publisher.messages import broker
from publisher.messages.client import Client
from publisher.models import Announcement, Base
from publisher.reconcile import Reconciler
from publisher.relay import Relay
from tests.servers import NatsServer


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 30) -> None:
    """Wait for a condition that is looked up somewhere."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"{what} did not happen within {seconds:g} s")


async def truth(value: bool) -> bool:
    """Return `value`, for `until`, whose conditions are awaited."""
    return value


@dataclass(slots=True)
class Link:
    """One connection and what was heard of it."""

    client: Client
    up: asyncio.Event
    connected: int = 0
    lost: int = 0
    errors: list[Exception] = field(default_factory=list)


@contextlib.asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A connection by `broker.connect`; it need not be up yet."""
    made: list[Link] = []
    errors: list[Exception] = []

    def on_connected() -> None:
        made[0].connected += 1
        made[0].up.set()

    def on_disconnected() -> None:
        made[0].lost += 1
        made[0].up.clear()

    client = await broker.connect(
        [url], name="test", on_connected=on_connected, on_disconnected=on_disconnected, on_error=errors.append
    )
    made.append(Link(client, asyncio.Event(), errors=errors))
    try:
        yield made[0]
    finally:
        await client.close()


@pytest_asyncio.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[Link]:
    """A connection that is up."""
    async with linked(nats_server.url) as link:
        await link.up.wait()
        yield link


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database with its tables, once of each kind."""
    async with opened(database_url) as database:
        async with database.write() as session:
            await (await session.connection()).run_sync(Base.metadata.create_all)
        yield database


@contextlib.asynccontextmanager
async def opened(url: str, *, statement: float = 10.0) -> AsyncIterator[Database]:
    database = Database(url, timeout=statement)
    try:
        yield database
    finally:
        await database.close()


@dataclass(slots=True)
class Publishing:
    """One publisher process's relay and reconciliation, over a connection of their own."""

    database: Database
    client: Client
    announcer: Announcer
    relay: Relay
    reconciler: Reconciler


@contextlib.asynccontextmanager
async def publishing(
    url: str,
    database: Database,
    *,
    interval: float = 60.0,
    poll_interval: float = 1.0,
    clock: Callable[[], int] = messages.now,
) -> AsyncIterator[Publishing]:
    """Run what a publisher process runs."""

    def on_connected() -> None:
        it.relay.connected()
        it.reconciler.connected()

    def on_disconnected() -> None:
        it.relay.disconnected()
        it.reconciler.disconnected()

    def on_error(error: Exception) -> None:
        raise error

    client = await broker.connect(
        [url], name="test", on_connected=on_connected, on_disconnected=on_disconnected, on_error=on_error
    )
    announcer = Announcer(client, clock=clock)
    relay = Relay(database, announcer, poll_interval=poll_interval, clock=clock)
    it = Publishing(
        database, client, announcer, relay, Reconciler(database, client, announcer, relay, interval=interval)
    )
    running = asyncio.gather(relay.run(), it.reconciler.run())
    try:
        yield it
        await relay.stop()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()


async def rows(database: Database) -> dict[str, tuple[int, int]]:
    """Return version and announced by key."""
    async with database.read() as session:
        found = await session.execute(select(Announcement.key, Announcement.version, Announcement.announced))
        return {row.key: (row.version, row.announced) for row in found}


async def settled(database: Database) -> bool:
    """Tell whether nothing waits."""
    return all(announced >= version for version, announced in (await rows(database)).values())
