"""An operator's remedy: a version that a wrong clock put far ahead silences its environment until that time comes.

Nothing else ever lowers a version. Stream servers that have shown the old one keep it until they restart, if it was
within what they believe (300 s ahead); one further ahead they have ignored.

A relay may have published the old version, or one after it, and not have written that down, or be about to publish
it. So what row and broker hold is looked at again afterwards, and put back again while it is ahead. What cannot be
seen from here is a `publisher.Publisher` in a program of somebody else's: it remembers the versions that it announced
and stays above them until it is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from nats.aio.client import Client
from sqlalchemy import insert

from publisher import messages, outbox
from publisher.announcer import AheadError, Announcer, NotAnnouncedError
from publisher.changes import Action
from publisher.database import Database
from publisher.messages import STREAM
from publisher.messages.jetstream import StreamMissingError, call
from publisher.models import Change

__all__ = ["reset_version"]

RESET: Final[Action] = "version.reset"
ATTEMPTS: Final = 5
PAUSE: Final = 0.2
"""Seconds after which a relay has published, and written down, what it had in hand."""

TOLERANCE: Final = 1_000_000
"""Microseconds by which clocks of publishers may differ without anybody having to be reset."""


async def reset_version(
    database: Database,
    client: Client,
    key: str,
    *,
    actor: str = "operator",
    replicas: int = 1,
    clock: Callable[[], int] = messages.now,
) -> int:
    """Put environment `key` back to now, in the database and in the broker, announce it, and return the version.

    The change log says who did it. Raises `InvalidKeyError`, `KeyError` for a key that was never announced,
    `NotAnnouncedError`, `JetStreamError` and nats-py's errors; the row then waits in the outbox, and calling again
    is safe.
    """
    subject = messages.subject(key)
    announcer = Announcer(client, replicas=replicas, clock=clock)
    for attempt in range(ATTEMPTS):
        version = clock()
        # The row first: were the subject purged before, a comparison in between would bring the old version back.
        await _put_back(database, key, version, actor=None if attempt else actor)
        with contextlib.suppress(StreamMissingError):  # announcing makes it
            await call(client, f"STREAM.PURGE.{STREAM}", {"filter": subject})
        with contextlib.suppress(AheadError):
            held = await announcer.announce(key, version)
            async with database.write() as session:
                await outbox.mark(database, session, {key: outbox.Held(held, clock())})
            await asyncio.sleep(PAUSE)
            async with database.read() as session:
                row = (await outbox.versions(session, [key])).get(key, 0)
            if max(row, await announcer.held(key)) <= clock() + TOLERANCE:
                return held
    raise NotAnnouncedError("it was announced ahead of the time again: set that publisher's clock right, then repeat")


async def _put_back(database: Database, key: str, version: int, *, actor: str | None) -> None:
    """Lower the row; with an `actor`, write a line of the change log."""
    async with database.write() as session:
        was = await outbox.reset(session, key, version=version)
        if was is None:
            raise KeyError(key)
        if actor is None:
            return
        await session.execute(
            insert(Change).values(
                at=version,
                actor=actor,
                action=RESET,
                environment_key=key,
                before={"version": was},
                after={"version": version},
                version=version,
            )
        )
