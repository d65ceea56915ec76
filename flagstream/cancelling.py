"""Tasks that are told to end, until they have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["cancel"]

ASK_AGAIN: Final = 3.0
"""Seconds after which a task that was cancelled and goes on is cancelled again."""


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended, however; what they raised stays with them.

    Before Python 3.12 `asyncio.wait_for`, which the NATS client uses, loses a cancellation that meets its result: a
    task that was told once would follow the broker for ever.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=ASK_AGAIN)
