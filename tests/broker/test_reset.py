"""An operator puts a version back that a wrong clock put far ahead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from nats.aio.msg import Msg
from sqlalchemy import select

from publisher import messages, outbox
from publisher.announcer import Announcer, NotAnnouncedError
from publisher.database import Database
from publisher.messages import InvalidKeyError, broker
from publisher.messages.client import Client
from publisher.models import Change
from publisher.reset import reset_version
from tests.broker.conftest import Link, publishing, rows, settled, until
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio


async def test_a_reset_lowers_row_and_broker_and_the_next_change_goes_through(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    ahead = messages.now() + 86_400_000_000
    async with publishing(nats_server.url, database, interval=0.2, clock=lambda: ahead) as wrong:
        async with database.write() as session:
            await outbox.advance(database, session, "e", clock=lambda: ahead)
        wrong.relay.wake()
        await until(lambda: settled(database), "the announcement")
    async with publishing(nats_server.url, database, interval=0.2) as publisher:
        before = messages.now()
        version = await reset_version(database, link.client, "e", actor="ops")
        assert before <= version <= messages.now()
        async with database.write() as session:
            changed = await outbox.advance(database, session, "e", claim=publisher.relay.id)
        assert version < changed <= messages.now() + 1
        publisher.relay.push({"e": changed})
        await until(lambda: settled(database), "the next announcement")
    assert await rows(database) == {"e": (changed, changed)}
    assert (await broker.read_newest(link.client)).versions == {"e": changed}
    async with database.read() as session:
        line = (await session.execute(select(Change))).scalar_one()
    assert (line.actor, line.action, line.environment_key, line.version) == ("ops", "version.reset", "e", version)
    assert line.before == {"version": ahead}
    assert line.pushed_at is not None


class Meddled:
    """A client under which `harm` is done once, right after a subject is purged."""

    def __init__(self, client: Client, harm: Callable[[], Awaitable[None]], times: int = 1) -> None:
        self._client = client
        self._harm = harm
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def request(self, subject: str, *arguments: Any, **more: Any) -> Msg:
        answer = await self._client.request(subject, *arguments, **more)
        if "PURGE" in subject and self._times:
            self._times -= 1
            await self._harm()
        return answer


@pytest.mark.parametrize("seconds", [250, 900])
async def test_a_mark_that_was_not_written_yet_does_not_undo_a_reset(
    database: Database, link: Link, seconds: int
) -> None:
    ahead = await announced_ahead(database, link, seconds)

    async def harm() -> None:
        async with database.write() as session:
            await outbox.mark(database, session, {"e": outbox.Held(ahead, messages.now())})

    version = await reset_version(database, cast("Client", Meddled(link.client, harm)), "e")
    assert version <= messages.now()
    assert await rows(database) == {"e": (version, version)}
    assert (await broker.read_newest(link.client)).versions == {"e": version}


@pytest.mark.parametrize("seconds", [250, 900])
async def test_a_change_that_a_relay_publishes_late_does_not_undo_a_reset(
    database: Database, link: Link, seconds: int
) -> None:
    ahead = await announced_ahead(database, link, seconds)

    async def harm() -> None:
        await Announcer(link.client).announce("e", ahead + 1)
        async with database.write() as session:
            await outbox.mark(database, session, {"e": outbox.Held(ahead + 1, messages.now())})

    version = await reset_version(database, cast("Client", Meddled(link.client, harm)), "e")
    assert version <= messages.now()
    assert await rows(database) == {"e": (version, version)}
    assert (await broker.read_newest(link.client)).versions == {"e": version}
    async with database.read() as session:
        line = (await session.execute(select(Change))).scalar_one()
    assert line.pushed_at is not None


async def test_a_reset_that_a_wrong_clock_keeps_undoing_says_so(database: Database, link: Link) -> None:
    ahead = await announced_ahead(database, link, 900)

    async def harm() -> None:
        await Announcer(link.client).announce("e", ahead + 1)

    with pytest.raises(NotAnnouncedError, match="clock"):
        await reset_version(database, cast("Client", Meddled(link.client, harm, times=100)), "e")


async def announced_ahead(database: Database, link: Link, seconds: int) -> int:
    """Announce environment ``e`` with a version that many seconds ahead, as a wrong clock would."""
    ahead = messages.now() + seconds * 1_000_000
    async with database.write() as session:
        await outbox.advance(database, session, "e", clock=lambda: ahead)
        await outbox.mark(database, session, {"e": outbox.Held(ahead, messages.now())})
    await Announcer(link.client).announce("e", ahead)
    return ahead


async def test_a_key_that_was_never_announced_is_refused(database: Database, link: Link) -> None:
    with pytest.raises(KeyError):
        await reset_version(database, link.client, "unknown")
    with pytest.raises(InvalidKeyError):
        await reset_version(database, link.client, "a.b")
    async with database.read() as session:
        assert (await session.execute(select(Change))).first() is None
