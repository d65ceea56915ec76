from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from publisher import migrations
from publisher.database import Database
from publisher.models import Base

UPGRADE = """
import asyncio, sys
from publisher import migrations
from publisher.database import Database

async def main():
    database = Database(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    await migrations.upgrade(database)
    assert await migrations.is_current(database)
    await database.close()

asyncio.run(main())
"""


async def on(database: Database, work: Any) -> Any:
    async with database.write() as session:
        return await (await session.connection()).run_sync(work)


@pytest.mark.asyncio
async def test_migrations_make_the_tables_that_the_models_describe(database_url: str) -> None:
    database = Database(database_url)
    await migrations.upgrade(database)
    await migrations.upgrade(database)

    def differences(connection: Connection) -> list[Any]:
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)  # type: ignore[no-any-return]

    assert await on(database, differences) == []

    def down(connection: Connection) -> list[str]:
        configuration = migrations.config()
        configuration.attributes["connection"] = connection
        command.downgrade(configuration, "base")
        return [name for name in inspect(connection).get_table_names() if not name.startswith("sqlite_")]

    assert await on(database, down) == ["alembic_version"]
    await migrations.upgrade(database)
    assert await migrations.is_current(database)
    await database.close()


def test_processes_that_start_at_once_migrate_once(database_url: str) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


@pytest.mark.asyncio
async def test_a_database_of_a_later_version_is_refused_by_name(database_url: str) -> None:
    database = Database(database_url)
    await migrations.upgrade(database)
    async with database.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrations.SchemaTooNewError, match="at revision 9999, which this version"):
        await migrations.upgrade(database)
    # An older process that runs on beside an upgraded one stays ready.
    assert await migrations.is_current(database)
    await database.close()


@pytest.mark.asyncio
async def test_a_probe_reads_the_scripts_from_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'f.db'}")
    try:
        await migrations.upgrade(database)
        assert await migrations.is_current(database)
        monkeypatch.delattr(migrations, "ScriptDirectory")
        assert await migrations.is_current(database)
    finally:
        await database.close()
