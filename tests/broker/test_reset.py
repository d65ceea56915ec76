"""An operator puts a version back that a wrong clock put far ahead."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from publisher import messages, outbox
from publisher.database import Database
from publisher.messages import InvalidKeyError, broker
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


async def test_a_key_that_was_never_announced_is_refused(database: Database, link: Link) -> None:
    with pytest.raises(KeyError):
        await reset_version(database, link.client, "unknown")
    with pytest.raises(InvalidKeyError):
        await reset_version(database, link.client, "a.b")
    async with database.read() as session:
        assert (await session.execute(select(Change))).first() is None
