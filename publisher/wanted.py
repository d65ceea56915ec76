"""Environments to be announced, each once and with its newest version, handed out to workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

__all__ = ["Wanted"]


class Wanted:
    """What waits in memory to be announced, and what is under way; `idle` is set while there is neither."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.idle.set()
        self._versions: dict[str, int] = {}  # only the newest of an environment means anything
        self._queue: asyncio.Queue[str] = asyncio.Queue()  # each key of `_versions` that no worker has, once
        self._busy: set[str] = set()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._versions)

    def keys(self) -> Iterator[str]:
        """Yield those that wait or are under way."""
        yield from self._versions
        yield from self._busy

    def add(self, key: str, version: int) -> None:
        """Have `version` of `key` announced, or a newer one that waits already."""
        before = self._versions.get(key)
        self._versions[key] = version if before is None else max(before, version)
        self.idle.clear()
        if before is None and key not in self._busy:
            self._queue.put_nowait(key)

    async def take(self) -> str:
        """Wait for an environment that no other worker has; `done` gives it back."""
        key = await self._queue.get()
        self._busy.add(key)
        return key

    def newest(self, key: str) -> int | None:
        """Take the version of `key` that is to be announced now; None where there is none any more."""
        return self._versions.pop(key, None)

    def done(self, key: str) -> None:
        """Take that `newest` had none left."""
        self._busy.discard(key)
        if not self._versions and not self._busy:
            self.idle.set()
