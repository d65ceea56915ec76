"""Asking everybody: one core NATS request, and all answers that come within a moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

__all__ = ["WAIT", "ask_all"]

WAIT: Final = 0.15
"""Seconds for answers: nobody knows how many there are to come."""


async def ask_all(
    client: Client, subject: str, request: bytes, take: Callable[[bytes], None], *, wait: float = WAIT
) -> bool:
    """Send `request` and hand each answer of the next `wait` seconds to `take`; False when NATS is away.

    Returns at once where NATS itself says that nobody listens. `take` must not raise.
    """
    nobody = asyncio.Event()

    async def receive(message: Msg) -> None:
        if message.data:
            take(message.data)
        else:
            nobody.set()  # NATS itself says so, with an empty message

    if not client.is_connected:
        return False
    inbox = client.new_inbox()
    try:
        subscription = await client.subscribe(inbox, cb=receive)
        try:
            await client.publish(subject, request, reply=inbox)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await nobody.wait()
        finally:
            await subscription.unsubscribe()
    except (errors.Error, OSError):
        return False
    return True
