"""The schema and its history (Alembic). `upgrade` runs at every start and is safe in several processes at once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from publisher.database import Database

__all__ = ["LOCK", "SchemaTooNewError", "config", "is_current", "upgrade"]

LOCK = 0x666C6167  # "flag": the advisory lock that keeps two starting processes apart


class SchemaTooNewError(Exception):
    """The database was migrated by a later version of Flagstream; this one might damage what it does not know."""


def config() -> Config:
    """Return Alembic's configuration; it needs no file, so it works from an installed wheel."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return configuration


async def upgrade(database: Database) -> None:
    """Bring the schema to the newest revision in one transaction, or wait until another process has done so."""
    async with database.without_timeout() as unhurried, unhurried.write() as session:
        if not database.is_sqlite:  # there the write lock is held from the begin on
            await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        await (await session.connection()).run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    configuration = config()
    known = {script.revision for script in ScriptDirectory.from_config(configuration).walk_revisions()}
    found = _revision(connection)
    if found is not None and found not in known:
        raise SchemaTooNewError(
            f"the database is at revision {found}, which this version of Flagstream does not know: it was upgraded by "
            "a later one; install that, or restore a backup"
        )
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


async def is_current(database: Database) -> bool:
    """Tell whether the database has this program's schema or a later one; raises the driver's errors."""
    async with database.read() as session:
        revision = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    return revision is not None and revision not in _older_revisions()


@cache
def _older_revisions() -> frozenset[str]:
    """Return every revision but the newest; the scripts are read from disk, and probes ask every second."""
    script = ScriptDirectory.from_config(config())
    return frozenset(each.revision for each in script.walk_revisions()) - {script.get_current_head()}
