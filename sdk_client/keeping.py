"""Keeping the newest document on disk while an event loop runs: in a thread, one write at a time, the newest only."""

from __future__ import annotations

import asyncio
from functools import partial

from sdk_client.cache import Cached, DiskCache
from sdk_client.threads import in_thread

__all__ = ["Keeper"]


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
            await in_thread(partial(self._cache.save, cached))
        self._task = None
