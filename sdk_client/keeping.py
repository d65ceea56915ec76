"""Keeping the newest document on disk while an event loop runs: in a thread, one write at a time, the newest only."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from sdk_client.cache import Cached, DiskCache
from sdk_client.threads import in_thread

__all__ = ["Keeper"]

PATIENCE: Final = 0.2
"""Seconds that the end of a client waits for a save under way; a disk may hang for ever."""


class Keeper:
    """Saves to `cache` by a task of `tasks`; what comes during a write takes the place of what waits."""

    def __init__(self, cache: DiskCache, tasks: asyncio.TaskGroup) -> None:
        self._cache = cache
        self._tasks = tasks
        self._waiting: Cached | None = None
        self._task: asyncio.Task[None] | None = None

    def keep(self, cached: Cached) -> None:
        """Save `cached` soon."""
        self._waiting = cached
        if self._task is None:
            self._task = self._tasks.create_task(self._save())

    async def _save(self) -> None:
        while self._waiting is not None:
            cached, self._waiting = self._waiting, None
            saving = asyncio.ensure_future(in_thread(partial(self._cache.save, cached)))
            try:
                await asyncio.shield(saving)
            except asyncio.CancelledError:  # a script that ends as soon as it has its flags keeps them all the same
                await asyncio.wait([saving], timeout=PATIENCE)
                raise
        self._task = None
