"""An operator's remedy: a version that a wrong clock put far ahead silences its environment until that time comes.

Nothing else ever lowers a version. Stream servers that have shown the old one keep it until they restart, if it was
within what they believe (300 s ahead); one further ahead they have ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from nats.aio.client import Client
from sqlalchemy import insert

from publisher import messages, outbox
from publisher.announcer import Announcer
from publisher.database import Database
from publisher.messages import STREAM
from publisher.messages.jetstream import StreamMissingError, call
from publisher.models import Change

__all__ = ["reset_version"]


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
    version = clock()
    # The row first: were the subject purged before, a comparison in between would bring the old version back.
    async with database.write() as session:
        was = await outbox.reset(session, key, version=version)
        if was is None:
            raise KeyError(key)
        await session.execute(
            insert(Change).values(
                at=version,
                actor=actor,
                action="version.reset",
                environment_key=key,
                before={"version": was},
                after={"version": version},
                version=version,
            )
        )
    with contextlib.suppress(StreamMissingError):  # announcing makes it
        await call(client, f"STREAM.PURGE.{STREAM}", {"filter": subject})
    held = await Announcer(client, replicas=replicas, clock=clock).announce(key, version)
    async with database.write() as session:
        await outbox.mark(database, session, {key: held}, at=clock())
    return held
