"""Changes that another management API tells us of: kept in the outbox before they are answered.

Duplicates and disorder are normal, so the maximum counts. Keys need not be ours: Flagsmith's environments live in
Flagsmith's database, and only their newest version lives here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from publisher.batches import Batches
from publisher.models import Announcement
from publisher.store import Store

__all__ = ["ForeignChanges"]

_KEYS_A_QUERY = 500


class ForeignChanges:
    """Takes `(key, version)` pairs and stores what is newer than what is known."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batches: Batches[tuple[str, int], bool] = Batches(self._write)

    async def submit(self, key: str, version: int) -> bool:
        """Store a version of an environment; tell whether it is newer than all before."""
        return await self._batches.submit((key, version))

    async def run(self) -> None:
        """Write what is submitted, for ever."""
        await self._batches.run()

    async def _write(self, items: Sequence[tuple[str, int]]) -> list[bool]:
        async with self._store.read() as session:
            known = await _versions(session, sorted({key for key, _ in items}))
        newest: dict[str, int] = {}
        advanced = []
        for key, version in items:
            before = newest.get(key, known.get(key, 0))
            advanced.append(version > before)
            if version > before:
                newest[key] = version
        if newest:
            async with self._store.change("queue-change") as change:
                # By key, so that two processes do not wait for each other in a circle.
                for key in sorted(newest):
                    await change.announce(key, at_least=newest[key])
        return advanced


async def _versions(session: AsyncSession, keys: Sequence[str]) -> dict[str, int]:
    versions: dict[str, int] = {}
    for first in range(0, len(keys), _KEYS_A_QUERY):
        some = keys[first : first + _KEYS_A_QUERY]
        query = select(Announcement.key, Announcement.version).where(Announcement.key.in_(some))
        versions.update((row.key, row.version) for row in await session.execute(query))
    return versions
