"""The layer that outlives a restart: versions and documents in a SQLite file that all workers of a host share.

Writing happens behind the requests, in a thread, the newest of each document at once. A row is only ever replaced by
a newer one. The file is a copy of what exists elsewhere: one that is damaged is moved aside, and a disk that fails
costs the snapshot, never an answer.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol, TypeVar

from flagstream.logs import get_logger
from publisher.messages import now
from stream_server.documents.counts import Counts
from stream_server.documents.document import Document, DocumentKey

__all__ = ["Snapshot"]

log = get_logger(__name__)

INTERVAL: Final = 0.5
"""Seconds between two rounds of writing."""

FILE: Final = "documents.sqlite3"
MOST_WAITING: Final = 4096
"""Documents that wait to be written at most; on a disk that slow, further ones are not written."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS versions (key TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, version INTEGER NOT NULL, began INTEGER NOT NULL,
    environment TEXT NOT NULL, body BLOB NOT NULL
);
"""
_PUT_VERSION: Final = """
INSERT INTO versions VALUES (?, ?)
ON CONFLICT (key) DO UPDATE SET version = excluded.version WHERE excluded.version > versions.version
"""
_PUT_DOCUMENT: Final = """
INSERT INTO documents VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, began = excluded.began,
    environment = excluded.environment, body = excluded.body
WHERE (excluded.version, excluded.began) > (documents.version, documents.began)
"""

T = TypeVar("T")


class Known(Protocol):
    """Knows versions."""

    def known(self) -> dict[str, int]:
        """Return them by environment key."""


class Snapshot:
    """Versions and documents in a file in `folder`; `versions` are saved as they grow."""

    def __init__(self, folder: str, versions: Known, counts: Counts) -> None:
        self._path = Path(folder) / FILE
        self._versions = versions
        self._failures = counts.snapshot_failures
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshot")
        self._connection: sqlite3.Connection | None = None
        self._waiting: dict[str, Document | None] = {}
        self._saved: dict[str, int] = {}
        self._failing = False

    def saved_versions(self) -> dict[str, int]:
        """Return the versions of the last run, by environment key."""
        saved = self._thread.submit(self._try, self._read_versions).result()
        self._saved = dict(saved or {})
        return saved or {}

    async def get(self, key: DocumentKey) -> Document | None:
        """Return the document that is on disk, or on its way there."""
        if key.digest in self._waiting:
            return self._waiting[key.digest]
        return await self._in_thread(lambda: self._read_document(key.digest))

    async def put(self, key: DocumentKey, document: Document) -> None:
        """Have `document` written soon, unless a newer one is there."""
        waiting = self._waiting.get(key.digest)
        if waiting is not None and waiting.age_order > document.age_order:
            return
        if len(self._waiting) < MOST_WAITING or key.digest in self._waiting:
            self._waiting[key.digest] = document

    async def drop(self, key: DocumentKey) -> None:
        """Have the document of `key` deleted soon."""
        self._waiting[key.digest] = None

    async def run(self) -> None:
        """Write what waits, for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self._round()

    async def stop(self) -> None:
        """Write what still waits and close the file."""
        await self._round()
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def _round(self) -> None:
        waiting, self._waiting = self._waiting, {}
        known = self._versions.known()
        grown = {key: version for key, version in known.items() if self._saved.get(key, 0) < version}
        if not waiting and not grown:
            return
        written = None
        try:
            written = await self._in_thread(lambda: self._write(waiting, grown.items()))
        finally:  # also when the process stops in the middle of a round
            if written:
                self._saved.update(grown)
            else:
                for digest, document in waiting.items():  # tried again, unless something newer waits now
                    self._waiting.setdefault(digest, document)

    async def _in_thread(self, work: Callable[[], T]) -> T | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._try, work)

    # What follows runs in the thread.

    def _try(self, work: Callable[[], T]) -> T | None:
        """Do `work`, once more with a fresh file where the file is damaged; None where the disk fails."""
        try:
            try:
                done = work()
            except sqlite3.OperationalError:  # locked, full, read-only: the file is as good as before
                raise
            except sqlite3.DatabaseError as error:
                self._move_aside(error)
                done = work()
        except (sqlite3.Error, OSError) as error:
            self._failures.inc()
            if not self._failing:
                log.warning("the snapshot of the documents fails", file=str(self._path), error=str(error))
            self._failing = True
            return None
        self._failing = False
        return done

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self._path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read_versions(self) -> dict[str, int]:
        return dict(self._open().execute("SELECT key, version FROM versions").fetchall())

    def _read_document(self, digest: str) -> Document | None:
        found = self._open().execute("SELECT version, began, environment, body FROM documents WHERE id = ?", (digest,))
        row = found.fetchone()
        return None if row is None else Document(version=row[0], began=row[1], environment=row[2], body=row[3])

    def _write(self, documents: dict[str, Document | None], versions: Iterable[tuple[str, int]]) -> bool:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_PUT_VERSION, versions)
            for digest, document in documents.items():
                if document is None:
                    connection.execute("DELETE FROM documents WHERE id = ?", (digest,))
                    continue
                row = (digest, document.version, document.began, document.environment, document.body)
                connection.execute(_PUT_DOCUMENT, row)
        return True

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        """Make room for a fresh file, unless another worker has done it already."""
        self._close()
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_sound(self._path):
                return
            aside = self._path.with_name(f"{FILE}.damaged-{now()}")
            self._path.rename(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(FILE + suffix).unlink(missing_ok=True)
            _connect(self._path).close()  # made before the lock goes, so that the next worker finds it sound
        log.warning(
            "the snapshot of the documents was damaged and is begun anew", moved_to=str(aside), error=str(error)
        )


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # documents may be secret: for nobody else to read
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # after a power loss an older snapshot is good enough
        connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_sound(path: Path) -> bool:
    try:
        with closing(_connect(path)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
