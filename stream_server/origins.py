"""Whether any of the stream servers that a waiting room stands in for is ready, looked at ten times a second.

Each server has a look-out of its own, so that one that is frozen or swallows packets never delays the look at another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import httpx
from prometheus_client import CollectorRegistry, Gauge

from flagstream.logs import get_logger
from stream_server.health import ROOM

__all__ = ["Origins", "is_ready"]

log = get_logger(__name__)

EVERY: Final = 0.1
"""Seconds from one look at a server to the next."""

ANSWER: Final = 1.0
"""Seconds that a server has to say that it is ready; one that takes longer counts as away."""

READINESS: Final = "/health/readiness"


class Origins:
    """The stream servers at `urls`; without any, none is ever ready."""

    def __init__(self, urls: Iterable[str], registry: CollectorRegistry) -> None:
        self._ready = dict.fromkeys(urls, False)
        self._figure: Gauge | None = None
        if self._ready:
            self._figure = Gauge(
                "flagstream_origins_ready",
                "Stream servers of waiting_for that are ready, as the worker that sees fewest sees them",
                registry=registry,
                multiprocess_mode="livemin",
            )
        self.returned = asyncio.Event()
        """Set while at least one is ready."""

    @property
    def ready(self) -> bool:
        """Whether at least one is ready."""
        return self.returned.is_set()

    async def run(self) -> None:
        """Look for ever."""
        if not self._ready:
            await asyncio.Event().wait()
        async with asyncio.TaskGroup() as tasks:
            for url in self._ready:
                tasks.create_task(self._watch(url), name=f"look-out for {url}")

    async def _watch(self, url: str) -> None:
        # Reading certificates takes a tenth of a second, and no redirect leads to a server's own word.
        async with httpx.AsyncClient(verify=url.startswith("https:"), timeout=ANSWER, trust_env=False) as client:
            while True:
                began = time.monotonic()
                self._note(url, is_ready=await is_ready(client, url.rstrip("/") + READINESS))
                await asyncio.sleep(max(EVERY - (time.monotonic() - began), 0))

    def _note(self, url: str, *, is_ready: bool) -> None:
        if self._ready[url] == is_ready:
            return
        self._ready[url] = is_ready
        ready = sum(self._ready.values())
        if self._figure is not None:
            self._figure.set(ready)
        if ready and not self.ready:
            self.returned.set()
            log.info("a stream server is ready: its clients are let go to it", server=httpx.URL(url).netloc.decode())
        elif not ready:
            self.returned.clear()
            log.warning("no stream server is ready: clients wait here", servers=len(self._ready))


async def is_ready(client: httpx.AsyncClient, url: str) -> bool:
    """Tell whether the stream server whose readiness is at `url` says that it is ready."""
    try:
        async with asyncio.timeout(ANSWER):  # the client's own bounds each step, not all of them
            response = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return False
    # Where a load balancer falls over to a waiting room, that would else keep itself company for ever.
    return response.status_code == httpx.codes.OK and ROOM.encode() not in response.content
