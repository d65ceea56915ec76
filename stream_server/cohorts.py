"""The streams of a waiting room by when they opened, so that they can be let go when they are old enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from stream_server.hub import Hub
from stream_server.lifetimes import Headers, Life
from stream_server.streams import Streams

__all__ = ["Cohorts"]

PERIOD: Final = 0.1
"""Seconds whose streams are let go together."""

WAITING: Final = (b"x-flagstream-waiting", b"1")
"""Tells an edge that this stream may end before its time."""


class Origins(Protocol):
    """What is known of the stream servers that clients wait for."""

    @property
    def ready(self) -> bool:
        """Whether at least one is ready."""


class Cohorts:
    """The streams by when they opened, a tenth of a second each: a cohort is as old as its youngest stream at least.

    Nobody is told anything here, so the hub keeps the streams by cohort instead of by environment, and no stream has
    to remember when it began. `age` is how old, in seconds, a stream must be that no cache takes for fresh any more.
    """

    def __init__(self, streams: Streams, hub: Hub, age: float) -> None:
        self._streams = streams
        self._hub = hub
        self._age = age
        self._open: dict[int, None] = {}  # oldest first

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        key: str,
        life: Life,
        headers: Headers,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Answer one GET with a stream of the present cohort, whatever its `key`."""
        del key
        cohort = int(time.monotonic() / PERIOD)
        self._open[cohort] = None
        headers = [*headers, WAITING]
        await self._streams.serve(scope, receive, send, key=str(cohort), life=life, headers=headers, on_end=on_end)

    async def run(self, origins: Origins) -> None:
        """End the streams that are old enough while an origin is ready, for ever."""
        while True:
            await asyncio.sleep(PERIOD)
            now = time.monotonic()
            # A cohort's last stream opens at the end of its period, and its head goes out a moment later.
            old_enough = int((now - self._age) / PERIOD) - 1
            for cohort in list(self._open):
                if origins.ready and cohort < old_enough:
                    await self._hub.end(str(cohort), clean=True)
                if cohort < int(now / PERIOD) and not self._hub.count(str(cohort)):
                    del self._open[cohort]
