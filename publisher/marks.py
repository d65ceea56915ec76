"""Announcements that the broker has acknowledged, from then until the database says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from publisher import outbox
from publisher.database import Database

__all__ = ["Marks"]


class Marks:
    """Kept in memory and written in batches, which slow no publish down; `waiting` is set while there are any."""

    def __init__(self, database: Database) -> None:
        self.waiting = asyncio.Event()
        self._database = database
        self._waiting: dict[str, outbox.Held] = {}
        self._writing: dict[str, outbox.Held] = {}
        self._turn = asyncio.Lock()

    def keys(self) -> Iterator[str]:
        """Yield the environments that are to be marked."""
        yield from self._waiting
        yield from self._writing

    def add(self, key: str, held: outbox.Held) -> None:
        """Take what the broker holds of an environment."""
        self._waiting[key] = max(held, self._waiting.get(key, held))
        self.waiting.set()

    async def write(self) -> int:
        """Write all in one transaction, and return how many; raises what the database raises, and then keeps them."""
        async with self._turn:
            self.waiting.clear()
            self._writing, self._waiting = self._waiting, {}
            try:
                async with self._database.write() as session:
                    await outbox.mark(self._database, session, self._writing)
                return len(self._writing)
            except BaseException:
                for key, held in self._writing.items():
                    self.add(key, held)
                raise
            finally:
                self._writing = {}
