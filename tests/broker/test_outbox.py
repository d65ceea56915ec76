"""The outbox, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select, update

from publisher import outbox
from publisher.database import Database, seconds_now
from publisher.messages import MAX_AHEAD
from publisher.models import Announcement, Change

pytestmark = pytest.mark.asyncio

T0 = 1_735_229_888_760_122


async def advance(database: Database, key: str, *, at: int = T0, at_least: int | None = None, by: str = "") -> int:
    async with database.write() as session:
        return await outbox.advance(database, session, key, at_least=at_least, claim=by or None, clock=lambda: at)


async def claim(database: Database, relay: str, **options: int) -> dict[str, int]:
    async with database.write() as session:
        return await outbox.claim(database, session, relay, limit=options.get("limit", 100))


async def mark(database: Database, **held: int) -> None:
    async with database.write() as session:
        await outbox.mark(database, session, {key: outbox.Held(version, T0 + 99) for key, version in held.items()})


async def row(database: Database, key: str) -> tuple[int, int, str | None]:
    async with database.read() as session:
        found = (await session.execute(select(Announcement).where(Announcement.key == key))).scalar_one()
        return found.version, found.announced, found.claimed_by


async def test_a_change_of_our_own_is_newer_even_when_the_clock_steps_back(database: Database) -> None:
    assert await advance(database, "e", at=T0) == T0
    assert await advance(database, "e", at=T0 - 3_600_000_000) == T0 + 1
    assert await advance(database, "e", at=T0) == T0 + 2
    assert await advance(database, "e", at=T0 + 10) == T0 + 10


async def test_a_foreign_change_keeps_the_maximum(database: Database) -> None:
    assert await advance(database, "e", at_least=T0) == T0
    assert await advance(database, "e", at_least=T0 - 5) == T0
    assert await advance(database, "e", at_least=T0) == T0
    assert await advance(database, "e", at_least=T0 + 5) == T0 + 5
    assert await advance(database, "e", at=T0) == T0 + 6


async def test_writers_at_once_each_get_a_version_of_their_own(database: Database) -> None:
    versions = await asyncio.gather(*(advance(database, "e") for _ in range(20)))
    assert sorted(versions) == list(range(T0, T0 + 20))


async def test_a_transaction_that_fails_leaves_no_version_and_no_claim(database: Database) -> None:
    await advance(database, "e")

    async def fail() -> None:
        async with database.write() as session:
            await outbox.advance(database, session, "e", claim="me")
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    assert await row(database, "e") == (T0, 0, None)


async def test_what_the_writer_claimed_is_left_alone_by_others_until_its_lease_ends(database: Database) -> None:
    await advance(database, "e", by="writer")
    assert await claim(database, "other") == {}
    async with database.read() as session:
        assert not await outbox.anything_free(database, session, "other")
        assert await outbox.anything_free(database, session, "writer")
    async with database.write() as session:
        await session.execute(update(Announcement).values(claimed_until=seconds_now(database) - 0.1))
    assert await claim(database, "other") == {"e": T0}
    assert await claim(database, "writer") == {}


async def test_a_lease_from_a_clock_that_was_set_back_holds_nobody_up(database: Database) -> None:
    await advance(database, "e", by="writer")
    async with database.write() as session:
        await session.execute(update(Announcement).values(claimed_until=seconds_now(database) + 3600))
    assert await claim(database, "other") == {"e": T0}


async def test_relays_at_once_never_claim_the_same_row(database: Database) -> None:
    for number in range(50):
        await advance(database, f"e{number}")
    shares = await asyncio.gather(*(claim(database, f"relay{number}", limit=5) for number in range(20)))
    keys = [key for share in shares for key in share]
    assert len(keys) == len(set(keys))
    while rest := await claim(database, "last"):
        before = len(keys)
        keys.extend(key for key in rest if key not in keys)
        if len(keys) == before:
            break
    assert set(keys) == {f"e{number}" for number in range(50)}


async def test_a_mark_never_covers_a_newer_version(database: Database) -> None:
    await advance(database, "e", by="me")
    await advance(database, "e", by="me")
    await mark(database, e=T0)
    assert await row(database, "e") == (T0 + 1, T0, "me")
    await mark(database, e=T0 + 1)
    assert await row(database, "e") == (T0 + 1, T0 + 1, None)
    await mark(database, e=T0)
    assert await row(database, "e") == (T0 + 1, T0 + 1, None)


async def test_a_mark_of_something_newer_raises_the_row_so_that_our_next_change_is_newer_still(
    database: Database,
) -> None:
    await advance(database, "e")
    await mark(database, e=T0 + 50)
    assert await row(database, "e") == (T0 + 50, T0 + 50, None)
    assert await advance(database, "e") == T0 + 51


async def test_a_mark_from_before_a_reset_does_not_undo_it(database: Database) -> None:
    ahead = T0 + 2 * MAX_AHEAD
    await advance(database, "e", at=ahead, by="me")
    async with database.write() as session:
        await outbox.reset(session, "e", version=T0)
        await session.execute(insert(Change).values(at=T0, actor="a", action="x", environment_key="e", version=T0))
    await mark(database, e=ahead)
    assert await row(database, "e") == (T0, 0, None)
    async with database.read() as session:
        assert (await session.execute(select(Change.pushed_at))).scalar_one() is None


async def test_a_mark_of_a_version_far_ahead_that_is_the_rows_own_is_written(database: Database) -> None:
    ahead = T0 + 2 * MAX_AHEAD
    await advance(database, "e", at=ahead, by="me")
    await mark(database, e=ahead)
    assert await row(database, "e") == (ahead, ahead, None)


async def test_a_mark_dates_the_changes_it_covers_and_no_others(database: Database) -> None:
    async with database.write() as session:
        for version in (T0, T0 + 1, T0 + 2):
            await outbox.advance(database, session, "e", clock=lambda: T0)
            await session.execute(
                insert(Change).values(at=T0, actor="a", action="x", environment_key="e", version=version)
            )
        await session.execute(insert(Change).values(at=T0, actor="a", action="x", environment_key="f", version=T0))
    await mark(database, e=T0 + 1, f=0)
    async with database.read() as session:
        rows = (await session.execute(select(Change.environment_key, Change.version, Change.pushed_at))).all()
        assert sorted(tuple(found) for found in rows) == sorted(
            [("e", T0, T0 + 99), ("e", T0 + 1, T0 + 99), ("e", T0 + 2, None), ("f", T0, None)], key=str
        )


async def test_what_waits_is_counted(database: Database) -> None:
    await advance(database, "e", at=T0)
    await advance(database, "f", at=T0 + 5)
    await mark(database, e=T0)
    async with database.read() as session:
        assert await outbox.waiting(session) == outbox.Waiting(1, T0 + 5)
