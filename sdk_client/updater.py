"""The asyncio shell that keeps one environment's flags at the newest version: the stream tells, a fetch follows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import httpx

from sdk_client.addresses import SERVER_KEY_PREFIX, Addresses, check_client_key
from sdk_client.connection import Connection, Wait
from sdk_client.documents import Document
from sdk_client.errors import ConfigurationError, DocumentError, KeyRefusedError
from sdk_client.loading import Loader
from sdk_client.reconnect import Backoff
from sdk_client.refetch import Refetch
from sdk_client.streaming import Follower

__all__ = ["Counts", "Target", "Updater"]

_log = logging.getLogger("sdk_client")


@dataclass(slots=True)
class Counts:
    """What a client has done since it started."""

    streams_opened: int = 0
    stream_errors: int = 0
    fetches: int = 0
    fetch_errors: int = 0
    callback_errors: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """The environment to follow; `client_key` is None where it has to be found out from the server key."""

    addresses: Addresses
    key: str
    client_key: str | None
    request_timeout: float

    def stream_key(self) -> str | None:
        """Return the key of the stream, None where only the server knows it."""
        if self.client_key is None and not self.key.startswith(SERVER_KEY_PREFIX):
            return self.key
        return self.client_key


class Updater:
    """Runs the stream and the fetches; `on_document` takes each document that is not older than the one before."""

    def __init__(
        self,
        target: Target,
        *,
        random: Random,
        heartbeat: float,
        spread: float,
        backoff: Backoff | None,
        on_document: Callable[[Document], None],
    ) -> None:
        self._target = target
        self._random = random
        self._backoff = backoff
        self._on_document = on_document
        self._connection = Connection(random=random, heartbeat=heartbeat, backoff=backoff)
        self._wake = asyncio.Event()
        self.refetch = Refetch(random=random, spread=spread, backoff=backoff)
        self.counts = Counts()
        self.connected = False
        self.answered = asyncio.Event()
        """Set once flags are loaded or the key is refused: there is something to tell whoever waits."""
        self.last_error: DocumentError | None = None

    async def run(self, http: httpx.AsyncClient) -> None:
        """Keep the flags fresh for ever; ends by cancellation, or with a fault of our own."""
        loader = Loader(http, self._target.addresses, self._target.key, timeout=self._target.request_timeout)
        try:
            async with asyncio.TaskGroup() as workers:
                workers.create_task(self._keep_fresh(loader))
                workers.create_task(self._follow(http, loader))
        finally:
            self.connected = False

    async def _follow(self, http: httpx.AsyncClient, loader: Loader) -> None:
        key = self._target.stream_key() or await self._find_client_key(loader)
        url = self._target.addresses.stream_of(key)
        await Follower(http, url, self._connection, self, _clock()).run()

    async def _find_client_key(self, loader: Loader) -> str:
        backoff = self._backoff or Backoff()
        failures = 0
        while True:
            try:
                return check_client_key(await loader.client_key())
            except (DocumentError, ConfigurationError) as error:
                failures += 1
                if failures == 1:
                    _log.warning("no flag stream: its key could not be found (%s), trying again", error)
                floor = error.retry_after if isinstance(error, DocumentError) else 0.0
                await asyncio.sleep(backoff.delay(failures, self._random, floor=floor))

    async def _keep_fresh(self, loader: Loader) -> None:
        clock = _clock()
        while True:
            self._wake.clear()
            left = None if self.refetch.due is None else self.refetch.due - clock()
            if left is not None and left <= 0:
                await self._fetch(loader, clock)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()

    async def _fetch(self, loader: Loader, clock: Callable[[], float]) -> None:
        asked = self.refetch.begin(clock())
        self.counts.fetches += 1
        try:
            document = await loader.flags(asked)
        except DocumentError as error:
            self.refetch.failed(clock(), error.retry_after)
            self._report_failure(error)
            return
        if self.last_error is not None:
            self.last_error = None
            _log.info("the flags API answers again")
        if self.refetch.finished(document, clock()):
            self._on_document(document)
        self.answered.set()

    def _report_failure(self, error: DocumentError) -> None:
        self.counts.fetch_errors += 1
        before = self.last_error
        self.last_error = error
        if before is None or type(before) is not type(error):  # once, not once an attempt
            _log.warning("flags could not be fetched (%s); they stay as they are, trying again", error)
        if isinstance(error, KeyRefusedError):
            self.answered.set()

    def on_live(self) -> None:
        """Take the opening of a stream (`Listener`)."""
        self.counts.streams_opened += 1
        self.connected = True
        self.refetch.connected(_clock()())
        self._wake.set()

    def on_version(self, version: int) -> None:
        """Take an announced version (`Listener`)."""
        self.refetch.announce(version, _clock()())
        self._wake.set()

    def on_end(self, wait: Wait) -> None:
        """Take the end of a stream (`Listener`)."""
        self.connected = False
        if wait.end.is_error:
            self.counts.stream_errors += 1


def _clock() -> Callable[[], float]:
    return asyncio.get_running_loop().time
