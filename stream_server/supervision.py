"""Tasks without which a process must not go on: when one ends, the process says so and dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from flagstream.cancelling import cancel
from flagstream.logs import get_logger

__all__ = ["vital"]

log = get_logger(__name__)

FAILED: Final = 70
"""Exit status of a process whose vital task ended (sysexits.h, EX_SOFTWARE)."""


@asynccontextmanager
async def vital(**work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work`, by name, during the block; any of it that ends earlier, by an error or not, ends the process."""
    tasks = [asyncio.get_running_loop().create_task(coroutine, name=name) for name, coroutine in work.items()]
    for task in tasks:
        task.add_done_callback(_die)
    try:
        yield
    finally:
        await cancel(tasks)


def _die(task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    log.critical("a vital task ended, so this process does", task=task.get_name(), exc_info=task.exception())
    # Streams that are no longer fed must not look alive: clients reconnect to a process that works.
    os._exit(FAILED)
