"""Work beside the rest: on a loop and a thread of its own, so that what else this process does delays it little."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["aside"]

SWITCH_EVERY: Final = 0.0005
"""Seconds that one thread may hold up another; Python's own 5 ms would show in figures of a few milliseconds."""


async def aside(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do `work()` in a thread with a loop of its own, and wait for it; a cancellation is passed on.

    Raises what it raises.
    """
    here = asyncio.get_running_loop()
    ended: asyncio.Future[None] = here.create_future()
    begun: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = here.create_future()

    async def begin() -> None:
        task = asyncio.create_task(work())
        here.call_soon_threadsafe(begun.set_result, (asyncio.get_running_loop(), task))
        await asyncio.gather(task, return_exceptions=True)
        here.call_soon_threadsafe(_pass_on, task, ended)

    switching = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_EVERY)
    thread = threading.Thread(target=asyncio.run, args=(begin(),), name=f"{work!r}", daemon=True)
    thread.start()
    try:
        await asyncio.shield(ended)
    finally:
        if not ended.done():
            loop, task = await begun
            loop.call_soon_threadsafe(task.cancel)
            await asyncio.wait({ended})
        thread.join()
        sys.setswitchinterval(switching)


def _pass_on(task: asyncio.Task[None], ended: asyncio.Future[None]) -> None:
    """End the wait as the work has ended."""
    error = None if task.cancelled() else task.exception()
    if task.cancelled():
        ended.cancel()
    elif error is not None:
        ended.set_exception(error)
    else:
        ended.set_result(None)
