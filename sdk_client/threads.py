"""Work that would hold up an event loop, done in a thread, or here where the machine has no thread to give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises; it may be begun twice, so it has to bear that."""
    try:
        future = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:  # the limit of threads is reached, or the interpreter is about to exit
        return work()
    return await future
