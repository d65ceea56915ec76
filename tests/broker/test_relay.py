"""Relay and reconciliation against a real nats-server that is killed, wiped and started again."""

from __future__ import annotations

import asyncio
import time

import nats.errors
import pytest
from sqlalchemy import insert, select, update

from publisher import messages, outbox
from publisher.database import Database
from publisher.messages import broker
from publisher.messages.jetstream import call
from publisher.models import Announcement, Base, Change
from publisher.provision import Difference, configuration
from publisher.reconcile import Reconciler
from publisher.relay import DATABASE_ERRORS, Relay
from tests.broker.conftest import Link, Publishing, linked, opened, publishing, rows, settled, truth, until
from tests.servers import NatsServer, PostgresServer

pytestmark = pytest.mark.asyncio


async def change(database: Database, *keys: str, by: str | None = None) -> dict[str, int]:
    async with database.write() as session:
        return {key: await outbox.advance(database, session, key, claim=by) for key in sorted(keys)}


async def in_broker(link: Link) -> dict[str, int]:
    try:
        return (await broker.read_newest(link.client)).versions
    except (broker.JetStreamError, nats.errors.Error, TimeoutError):
        return {}  # not there yet


async def agrees(database: Database, link: Link) -> bool:
    """Tell whether nothing waits and the broker holds exactly the database's versions."""
    found = await rows(database)
    return await settled(database) and await in_broker(link) == {key: version for key, (version, _) in found.items()}


async def test_what_a_writer_pushes_is_published_and_marked_and_its_change_dated(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    async with publishing(nats_server.url, database, poll_interval=3600) as publisher:
        await until(lambda: has_compared(publisher.reconciler), "the first comparison")
        # A look that is under way may find what is pushed meanwhile, and both publish it.
        await until(lambda: has_looked(publisher.relay), "the look of its start")
        versions = await change(database, "e", by=publisher.relay.id)
        async with database.write() as session:
            await session.execute(
                insert(Change).values(at=1, actor="a", action="x", environment_key="e", version=versions["e"])
            )
        publisher.relay.push(versions)
        await until(lambda: agrees(database, link), "the announcement")
        async with database.read() as session:
            pushed_at = (await session.execute(select(Change.pushed_at))).scalar_one()
        assert pushed_at is not None
        assert pushed_at >= versions["e"]
        assert publisher.relay.counters.published == 1
        assert (await publisher.relay.backlog()).count == 0


async def has_compared(reconciler: Reconciler) -> bool:
    return reconciler.last is not None


async def has_looked(relay: Relay) -> bool:
    return not relay._look.is_set() and not relay._claiming.locked()


async def test_rows_that_a_killed_process_left_are_published(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    await change(database, *(f"e{number}" for number in range(1200)))
    async with publishing(nats_server.url, database):
        await until(lambda: agrees(database, link), "the announcements")


async def test_changes_made_while_nats_is_away_arrive_within_two_seconds_of_its_return(
    nats_server: NatsServer, database: Database
) -> None:
    async with publishing(nats_server.url, database) as publisher, linked(nats_server.url) as link:
        await until(lambda: has_compared(publisher.reconciler), "the first comparison")
        nats_server.kill()
        await until(lambda: lost(link), "the loss of the connection")
        for _ in range(3):
            publisher.relay.push(await change(database, *(f"e{number}" for number in range(50)), by=publisher.relay.id))
            await asyncio.sleep(0.3)  # the client's waits have grown by then
        assert not await settled(database)
        nats_server.start()
        began = time.monotonic()
        await until(lambda: agrees(database, link), "the announcements")
        assert time.monotonic() - began < 10  # 0.5 s when nothing else runs


async def lost(link: Link) -> bool:
    return not link.client.is_connected


async def test_a_broker_that_lost_its_disk_is_told_everything_again(
    nats_server: NatsServer, database: Database
) -> None:
    async with publishing(nats_server.url, database) as publisher, linked(nats_server.url) as link:
        await change(database, *(f"e{number}" for number in range(100)))
        publisher.relay.wake()
        await until(lambda: agrees(database, link), "the announcements")
        nats_server.kill()
        nats_server.wipe()
        nats_server.start()
        await until(lambda: agrees(database, link), "the announcements anew")
        assert publisher.reconciler.last is not None
        assert publisher.reconciler.last.behind == 100


async def test_a_stream_that_vanishes_while_listeners_hide_it_is_made_again(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    async def listen(_: object) -> None:
        pass

    await link.client.subscribe(messages.SUBJECTS, cb=listen)  # with it, a publish is answered by silence
    async with publishing(nats_server.url, database, interval=0.5) as publisher:
        publisher.relay.push(await change(database, "e", by=publisher.relay.id))
        await until(lambda: agrees(database, link), "the announcement")
        await call(link.client, "STREAM.DELETE.flags")
        publisher.relay.push(await change(database, "f", by=publisher.relay.id))
        await until(lambda: agrees(database, link), "both announcements")


async def test_a_stream_that_vanishes_is_made_and_filled_again_though_nothing_changes(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    async with publishing(nats_server.url, database, interval=0.2, poll_interval=3600) as publisher:
        await change(database, "e", "f")
        publisher.relay.wake()
        await until(lambda: agrees(database, link), "the announcements")
        await call(link.client, "STREAM.DELETE.flags")
        await until(lambda: agrees(database, link), "the announcements anew")


async def test_a_stream_that_somebody_changes_is_told_once_and_used(
    nats_server: NatsServer, database: Database, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    async with publishing(nats_server.url, database, interval=0.05) as publisher:
        await until(lambda: has_compared(publisher.reconciler), "the first comparison")
        await call(link.client, "STREAM.UPDATE.flags", {**configuration(1), "max_msgs_per_subject": 3})
        await until(lambda: truth(bool(differing(publisher))), "the discovery")
        first = publisher.reconciler.last
        await until(lambda: truth(publisher.reconciler.last is not first), "another comparison")
        versions = await change(database, "e", by=publisher.relay.id)
        publisher.relay.push(versions)
        await until(lambda: agrees(database, link), "the announcement")
    told = [record for record in caplog.records if "max_msgs_per_subject" in record.getMessage()]
    assert len(told) == 1


def differing(publisher: Publishing) -> tuple[Difference, ...]:
    found = publisher.announcer.provisioned
    return () if found is None else found.differences


async def test_a_row_that_is_older_than_the_broker_is_raised_and_unknown_keys_are_written_down(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    async with publishing(nats_server.url, database, interval=0.2) as publisher:
        before = (await change(database, "e"))["e"]
        publisher.relay.wake()
        await until(lambda: agrees(database, link), "the announcement")
        async with database.write() as session:  # a backup from yesterday
            await session.execute(update(Announcement).values(version=before - 86_400_000_000, announced=0))
            await session.execute(
                update(Announcement).values(version=before - 86_400_000_000, announced=before - 86_400_000_000)
            )
        await link.client.request(messages.subject("foreign"), messages.encode(before + 7), timeout=30)

        async def is_mended() -> bool:
            return await rows(database) == {"e": (before, before), "foreign": (before + 7, before + 7)}

        await until(is_mended, "the comparison")


async def test_a_version_far_ahead_in_the_broker_is_reported_not_adopted_and_blocks_only_its_own_environment(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    async with publishing(nats_server.url, database, interval=0.2) as publisher:
        await until(lambda: has_compared(publisher.reconciler), "the first comparison")
        ahead = messages.now() + 2 * messages.MAX_AHEAD
        await link.client.request(messages.subject("e"), messages.encode(ahead), timeout=30)
        versions = await change(database, "e", "f", by=publisher.relay.id)
        publisher.relay.push(versions)

        async def is_told() -> bool:
            found = await rows(database)
            last = publisher.reconciler.last
            return found["f"][1] == versions["f"] and last is not None and last.too_far_ahead == 1

        await until(is_told, "the report")
        assert (await rows(database))["e"] == (versions["e"], 0)
        assert publisher.relay.counters.blocked >= 1
        assert (await in_broker(link))["e"] == ahead


async def test_a_version_far_ahead_in_our_own_database_is_reported_too(
    nats_server: NatsServer, database: Database
) -> None:
    ahead = messages.now() + 2 * messages.MAX_AHEAD
    async with database.write() as session:
        await outbox.advance(database, session, "e", clock=lambda: ahead)
        await outbox.advance(database, session, "f")
    async with publishing(nats_server.url, database, interval=0.1) as publisher:
        await until(lambda: settled(database), "the announcements")  # broker and database agree by now
        first = publisher.reconciler.last
        await until(lambda: truth(publisher.reconciler.last is not first), "another comparison")
        assert publisher.reconciler.last is not None
        assert publisher.reconciler.last.too_far_ahead == 1


async def test_two_publishers_over_one_database_never_lower_a_version(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    seen: dict[str, int] = {}
    keys = [f"e{number}" for number in range(5)]

    async def write(publisher: Publishing) -> None:
        for _ in range(40):
            versions = await change(publisher.database, *keys, by=publisher.relay.id)
            publisher.relay.push(versions)
            for key, version in versions.items():
                seen[key] = max(version, seen.get(key, 0))

    async with (
        opened(database.url) as second,
        publishing(nats_server.url, database) as one,
        publishing(nats_server.url, second) as two,
    ):
        watching = asyncio.Event()

        async def watch() -> None:
            newest: dict[str, int] = {}
            while not watching.is_set():
                for key, version in (await in_broker(link)).items():
                    assert version >= newest.get(key, 0)
                    newest[key] = version
                await asyncio.sleep(0)

        watcher = asyncio.ensure_future(watch())
        await asyncio.gather(write(one), write(two))
        await until(lambda: agrees(database, link), "the announcements")
        watching.set()
        await watcher
        assert await in_broker(link) == seen


async def test_the_last_try_at_the_end_takes_what_still_waits(
    nats_server: NatsServer, database: Database, link: Link
) -> None:
    async with publishing(nats_server.url, database) as publisher:
        await until(lambda: has_compared(publisher.reconciler), "the first comparison")
        publisher.relay.push(await change(database, "e", by=publisher.relay.id))
    assert await agrees(database, link)


async def test_a_relay_stops_in_time_while_nats_is_away(nats_server: NatsServer, database: Database) -> None:
    nats_server.kill()
    versions = await change(database, "e")
    async with publishing(nats_server.url, database) as publisher:
        publisher.relay.push(versions)
    assert await rows(database) == {"e": (versions["e"], 0)}


async def test_relay_and_comparison_outlive_a_database_that_goes_away(nats_server: NatsServer, link: Link) -> None:
    server = PostgresServer().start()
    try:
        async with opened(server.create_database()) as database:
            async with database.write() as session:
                await (await session.connection()).run_sync(Base.metadata.create_all)
            async with publishing(nats_server.url, database, interval=0.1) as publisher:
                await change(database, "e")
                publisher.relay.wake()
                await until(lambda: agrees(database, link), "the announcement")
                server.process.kill()
                publisher.relay.wake()
                await until(lambda: truth(publisher.relay.counters.database_errors > 0), "the first error")
                await until(lambda: truth(publisher.reconciler.fault != ""), "the comparison's failure")
                server.process.start()
                await until(lambda: is_written(database, "f"), "the database's return")
                publisher.relay.wake()
                await until(lambda: agrees(database, link), "the announcement after it")
                await until(lambda: truth(publisher.reconciler.fault == ""), "the next comparison")
    finally:
        server.stop()


async def is_written(database: Database, key: str) -> bool:
    try:
        await change(database, key)
    except DATABASE_ERRORS:
        return False
    return True
