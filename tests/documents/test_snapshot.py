"""Versions and documents on disk: a restart with everything else down still serves."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream_server.documents.counts import Counts
from stream_server.documents.document import Document, DocumentKey
from stream_server.documents.snapshot import FILE, Snapshot
from stream_server.versions import SharedVersions
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Upstream, documents, is_stale, value, version
from tests.servers import free_port

pytestmark = pytest.mark.asyncio

FLAGS = DocumentKey("flags", CLIENT_KEY)


def snapshot(folder: Path, versions: SharedVersions | None = None) -> Snapshot:
    return Snapshot(str(folder), versions or SharedVersions(None, 64, 1, 0), Counts(CollectorRegistry()))


async def test_restart_with_everything_else_down_still_serves(upstream: Upstream, tmp_path: Path) -> None:
    folder = str(tmp_path / "made" / "here")
    async with documents(upstream, snapshot_dir=folder) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        for key in (CLIENT_KEY, SERVER_KEY):
            await setup.flags(key=key)
    nowhere = Upstream(port=free_port())
    async with documents(nowhere, snapshot_dir=folder) as setup:
        assert setup.versions.newest(CLIENT_KEY) == NOW
        for key in (CLIENT_KEY, SERVER_KEY):
            response = await setup.flags(f"?v={NOW}", key=key)
            assert (value(response), version(response), is_stale(response)) == ("a", NOW, True)
            assert response.headers["Cache-Control"] == "private, no-store"


async def test_document_on_disk_gives_way_to_the_upstream(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        await setup.flags()
    upstream.value = "b"
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        response = await setup.flags()
        assert (value(response), is_stale(response)) == ("b", False)


async def test_kill_loses_little_because_it_is_written_while_running(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        await setup.flags()

        async def until_written() -> None:
            while not _rows(tmp_path, "documents"):
                await asyncio.sleep(0.02)

        await asyncio.wait_for(until_written(), 30)
        assert snapshot(tmp_path).saved_versions() == {CLIENT_KEY: NOW}


async def test_older_row_never_replaces_a_newer_one_whichever_worker_writes(tmp_path: Path) -> None:
    versions = [SharedVersions(None, 64, 1, 0) for _ in range(2)]
    ahead, behind = (snapshot(tmp_path, each) for each in versions)
    versions[0].advance(CLIENT_KEY, NOW + 2)
    await ahead.put(FLAGS, Document(NOW + 2, NOW, CLIENT_KEY, b"new"))
    await ahead.stop()
    versions[1].advance(CLIENT_KEY, NOW + 1)
    await behind.put(FLAGS, Document(NOW + 1, NOW + 9, CLIENT_KEY, b"old"))
    await behind.stop()
    third = snapshot(tmp_path)
    assert third.saved_versions() == {CLIENT_KEY: NOW + 2}
    found = await third.get(FLAGS)
    assert found is not None
    assert found.body == b"new"
    await third.stop()


async def test_workers_that_write_at_once_do_not_fail(tmp_path: Path) -> None:
    several = [snapshot(tmp_path) for _ in range(4)]
    for step in range(20):
        for index, each in enumerate(several):
            await each.put(DocumentKey("flags", f"{index}-{step}"), Document(NOW, NOW, "", b"x" * 1000))
        await asyncio.gather(*(each._round() for each in several))
    await asyncio.gather(*(each.stop() for each in several))
    assert _rows(tmp_path, "documents") == 80


@pytest.mark.parametrize("damage", ["garbage", "middle"])
async def test_damaged_file_is_moved_aside_and_begun_anew(upstream: Upstream, tmp_path: Path, damage: str) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        await setup.flags()
    _damage(tmp_path / FILE, keep=100 if damage == "middle" else 0)
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        assert value(await setup.flags()) == "a"
    assert _moved_aside(tmp_path)
    after = snapshot(tmp_path)
    assert after.saved_versions() == {CLIENT_KEY: NOW}
    await after.stop()


async def test_worker_that_finds_the_damage_later_keeps_the_fresh_file(tmp_path: Path) -> None:
    first, second = snapshot(tmp_path), snapshot(tmp_path)
    _write_garbage(tmp_path / FILE)
    await asyncio.to_thread(first._move_aside, sqlite3.DatabaseError("malformed"))
    assert _moved_aside(tmp_path)
    await first.put(FLAGS, Document(NOW, NOW, CLIENT_KEY, b"kept"))
    await first._round()
    await asyncio.to_thread(second._move_aside, sqlite3.DatabaseError("malformed"))
    found = await second.get(FLAGS)
    assert found is not None
    assert found.body == b"kept"
    await first.stop()
    await second.stop()


async def test_disk_that_fails_costs_no_answer(upstream: Upstream) -> None:
    folder = f"{__file__}/folder"  # below a file, so it cannot be made
    async with documents(upstream, snapshot_dir=folder) as setup:
        assert value(await setup.flags()) == "a"
    assert setup.sample("snapshot_failures_total") >= 1


async def test_refused_document_is_gone_from_disk(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        await setup.flags()
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        upstream.status = 403
        assert (await setup.flags()).status_code == 403
    assert _rows(tmp_path, "documents") == 0


async def test_it_is_written_first_when_the_process_stops_whatever_else_is_slow(
    upstream: Upstream, tmp_path: Path
) -> None:
    stack = AsyncExitStack()
    setup = await stack.enter_async_context(documents(upstream, snapshot_dir=str(tmp_path)))
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    gate = upstream.hold()
    setup.documents._analytics.collect(CLIENT_KEY, {"f": 1})
    stopping = asyncio.create_task(stack.aclose())
    async with asyncio.timeout(30):
        while not _rows(tmp_path, "documents"):
            await asyncio.sleep(0.005)
    assert not stopping.done(), "the last report still waits for the upstream"
    gate.set()
    await stopping


async def test_nobody_else_may_read_it_and_keys_of_documents_are_not_in_it(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        await setup.flags(key=SERVER_KEY)
    file = tmp_path / FILE
    assert file.stat().st_mode & 0o077 == 0
    assert SERVER_KEY.encode() not in file.read_bytes()


def _rows(folder: Path, table: str) -> int:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        try:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of ours
        except sqlite3.OperationalError:
            return 0


def _damage(file: Path, keep: int) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:keep] + b"\xff" * (len(content) - keep))


def _moved_aside(folder: Path) -> bool:
    return any(folder.glob(f"{FILE}.damaged-*"))


def _write_garbage(file: Path) -> None:
    file.write_bytes(b"this is no database" * 500)
