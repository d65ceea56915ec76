"""The outbox: statements over `Announcement`, each one statement on both databases.

A row waits while its `version` is above `announced`. A relay claims a waiting row for `LEASE` seconds of the
database's clock. A claim saves work and is no lock: two relays that announce one environment at once do no harm, for
each publish carries the sequence it expects (`publisher.announcer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    bindparam,
    case,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from publisher import messages
from publisher.database import Database, greatest, seconds_now
from publisher.models import Announcement, Change

__all__ = [
    "LEASE",
    "Held",
    "Waiting",
    "adopt",
    "advance",
    "anything_free",
    "claim",
    "mark",
    "page",
    "reset",
    "unannounce",
    "versions",
    "waiting",
]

LEASE: Final = 5.0
"""Seconds that a claim holds: how long an announcement waits when the process that claimed it is killed."""

IMPLAUSIBLE: Final = 2 * LEASE
"""A claim further ahead than this was made under a clock that has since been set back; it holds nobody up."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much waits for the broker: `count` environments, the oldest of them since version `oldest` (or None)."""

    count: int
    oldest: int | None


async def advance(
    database: Database,
    session: AsyncSession,
    key: str,
    *,
    at_least: int | None = None,
    claim: str | None = None,
    clock: Callable[[], int] = messages.now,
) -> int:
    """Give environment `key` its next version inside a writing transaction, and return it.

    Without `at_least` it is our own change: the version is now, and more than before whatever the clock says. With
    `at_least` it is somebody else's: the maximum is kept. With `claim`, the id of a relay, the row belongs to that
    relay from the commit on, so that who wrote publishes at once and others stay away.
    """
    form = (database.is_sqlite, at_least is not None, claim is not None)
    statement = _advances.get(form)
    if statement is None:
        statement = _advances[form] = _advance(database, foreign=at_least is not None, claimed=claim is not None)
    moment = clock() if at_least is None else at_least
    connection = await session.connection()
    found = await connection.execute(statement, {"of_key": key, "moment": moment, "relay": claim})
    return int(found.scalar_one())


_advances: dict[tuple[bool, bool, bool], Any] = {}
"""Statements of `advance` by form: building one takes longer than SQLite needs to run it."""


def _advance(database: Database, *, foreign: bool, claimed: bool) -> Any:
    row = Announcement.__table__.c
    moment: BindParameter[int] = bindparam("moment", type_=BigInteger)
    relay: BindParameter[str | None] = bindparam("relay", type_=row.claimed_by.type)
    version = greatest(database, row.version if foreign else row.version + 1, moment)
    until = seconds_now(database) + LEASE if claimed else null()
    statement = _insert(database).values(
        key=bindparam("of_key"), version=moment, announced=0, claimed_by=relay, claimed_until=until
    )
    return statement.on_conflict_do_update(
        index_elements=["key"], set_={"version": version, "claimed_by": relay, "claimed_until": until}
    ).returning(row.version)


def _insert(database: Database) -> Any:
    """Return an INSERT that can say ON CONFLICT, which SQLAlchemy has once a dialect."""
    dialect: Any = sqlite if database.is_sqlite else postgresql
    return dialect.insert(Announcement)


def _is_waiting() -> ColumnElement[bool]:
    return Announcement.version > Announcement.announced


def _is_free(database: Database, relay: str) -> ColumnElement[bool]:
    """Tell which rows this relay may take: unclaimed, its own, expired, or claimed under a clock since set back."""
    now = seconds_now(database)
    return or_(
        Announcement.claimed_until.is_(None),
        Announcement.claimed_by == relay,
        Announcement.claimed_until < now,
        Announcement.claimed_until > now + IMPLAUSIBLE,
    )


async def anything_free(database: Database, session: AsyncSession, relay: str, *, besides: Iterable[str] = ()) -> bool:
    """Tell whether `claim` would find something: a cheap look that takes no lock."""
    statement = (
        select(literal(1))
        .where(_is_waiting(), _is_free(database, relay), Announcement.key.not_in(list(besides)))
        .limit(1)
    )
    return (await session.execute(statement)).first() is not None


async def claim(
    database: Database, session: AsyncSession, relay: str, *, limit: int, besides: Iterable[str] = ()
) -> dict[str, int]:
    """Claim up to `limit` waiting environments for `relay`, none of `besides`, and return their versions by key."""
    free = (
        select(Announcement.key)
        .where(_is_waiting(), _is_free(database, relay), Announcement.key.not_in(list(besides)))
        .order_by(Announcement.key)
        .limit(limit)
    )
    if not database.is_sqlite:
        free = free.with_for_update(skip_locked=True)
    statement = (
        update(Announcement)
        .where(Announcement.key.in_(free))
        .values(claimed_by=relay, claimed_until=seconds_now(database) + LEASE)
        .returning(Announcement.key, Announcement.version)
        .execution_options(synchronize_session=False)
    )
    return {row.key: row.version for row in await session.execute(statement)}


class Held(NamedTuple):
    """What the broker acknowledged for a key: it holds `version` or newer since `at` (microseconds)."""

    version: int
    at: int


async def mark(database: Database, session: AsyncSession, held: Mapping[str, Held]) -> None:
    """Write down what the broker holds by now, by key.

    Where the broker is ahead of the row, the row is raised, so that the next change of our own is newer still; but
    not by a version that was too far ahead when it was acknowledged, which an operator has put back since. The lines
    of the change log that were waiting for these versions get the moment of the acknowledgement as their push.
    """
    if not held:
        return
    rows = [{"of_key": key, "held": each.version, "moment": each.at} for key, each in sorted(held.items())]
    key: BindParameter[str] = bindparam("of_key")
    version: BindParameter[int] = bindparam("held", type_=BigInteger)
    at: BindParameter[int] = bindparam("moment", type_=BigInteger)
    believed = or_(Announcement.version >= version, version <= at + messages.MAX_AHEAD)
    before = select(Announcement.announced).where(Announcement.key == key, believed).scalar_subquery()
    connection = await session.connection()  # statements with many rows of values are the connection's, not the ORM's
    await connection.execute(
        update(Change)
        .where(
            Change.environment_key == key,
            Change.version > before,  # without this bound each mark would walk an environment's whole history
            Change.version <= version,
            Change.pushed_at.is_(None),
        )
        .values(pushed_at=at),
        rows,
    )
    await connection.execute(
        update(Announcement)
        .where(Announcement.key == key, believed)
        .values(
            version=greatest(database, Announcement.version, version),
            announced=greatest(database, Announcement.announced, version),
            claimed_by=case((Announcement.version > version, Announcement.claimed_by), else_=null()),
            claimed_until=case((Announcement.version > version, Announcement.claimed_until), else_=null()),
        ),
        rows,
    )


async def unannounce(session: AsyncSession, behind: Mapping[str, tuple[int, int]]) -> None:
    """Make rows wait again whose announcement the broker has lost.

    `behind` maps key to (version that the row had, version that the broker holds). A row that has moved on since is
    left alone.
    """
    if not behind:
        return
    held: BindParameter[int] = bindparam("held", type_=BigInteger)
    connection = await session.connection()
    await connection.execute(
        update(Announcement)
        .where(
            Announcement.key == bindparam("of_key"),
            Announcement.version == bindparam("was", type_=BigInteger),
            Announcement.announced > held,
        )
        .values(announced=held, claimed_by=null(), claimed_until=null()),
        [{"of_key": key, "was": was, "held": at_broker} for key, (was, at_broker) in sorted(behind.items())],
    )


async def adopt(database: Database, session: AsyncSession, ahead: Mapping[str, int]) -> None:
    """Raise rows to what the broker holds, and make rows for keys that only the broker knows."""
    if not ahead:
        return
    statement = _insert(database).values(
        key=bindparam("of_key"),
        version=bindparam("held"),
        announced=bindparam("held"),
        claimed_by=None,
        claimed_until=None,
    )
    statement = statement.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "version": greatest(database, Announcement.version, statement.excluded.version),
            "announced": greatest(database, Announcement.announced, statement.excluded.announced),
        },
    )
    connection = await session.connection()
    await connection.execute(statement, [{"of_key": key, "held": held} for key, held in sorted(ahead.items())])


async def reset(session: AsyncSession, key: str, *, version: int) -> int | None:
    """Put the row of `key` at `version`, even if that is lower, and make it wait; return what it was before."""
    was = (
        await session.execute(select(Announcement.version).where(Announcement.key == key).with_for_update())
    ).scalar()
    await session.execute(
        update(Announcement)
        .where(Announcement.key == key)
        .values(version=version, announced=0, claimed_by=null(), claimed_until=null())
    )
    return was


async def waiting(session: AsyncSession) -> Waiting:
    """Return how much waits for the broker."""
    count, oldest = (
        await session.execute(
            select(func.count(), func.min(Announcement.version)).where(_is_waiting()).select_from(Announcement)
        )
    ).one()
    return Waiting(count, oldest)


async def versions(session: AsyncSession, keys: Iterable[str]) -> dict[str, int]:
    """Return the versions that these environments have now; those without a row are left out."""
    statement = select(Announcement.key, Announcement.version).where(Announcement.key.in_(list(keys)))
    return {row.key: row.version for row in await session.execute(statement)}


async def page(session: AsyncSession, after: str, limit: int) -> list[tuple[str, int, int]]:
    """Return (key, version, announced) of up to `limit` rows after key `after`, in the order of keys."""
    statement = (
        select(Announcement.key, Announcement.version, Announcement.announced)
        .where(Announcement.key > after)
        .order_by(Announcement.key)
        .limit(limit)
    )
    return [(row.key, row.version, row.announced) for row in await session.execute(statement)]
