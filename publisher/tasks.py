"""Tasks that run as long as the process. If one ends by itself the process must end too, and say why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from flagstream.cancelling import cancel
from flagstream.logs import get_logger

__all__ = ["Tasks"]

_logger = get_logger(__name__)


class Tasks:
    """Owns background tasks; `on_death` is called once for each that ends although nobody stopped it."""

    def __init__(self, on_death: Callable[[], None]) -> None:
        self._on_death = on_death
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until `stop`."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        _logger.critical("background task ended; the process stops", task=task.get_name(), exc_info=error)
        self._on_death()

    async def stop(self) -> None:
        """Cancel all tasks, the last one started first, and wait for them."""
        self._stopping = True
        for task in reversed(self._tasks):
            await cancel([task])
        self._tasks.clear()
