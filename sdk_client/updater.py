"""The asyncio shell that keeps one environment's flags at the newest version: the stream tells, a fetch follows."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import httpx

from sdk_client.addresses import Addresses
from sdk_client.documents import Document, Unchanged
from sdk_client.errors import ConfigurationError, DocumentError, KeyRefusedError
from sdk_client.flags import Flags, Source
from sdk_client.hooks import Fetch, FetchOutcome, HooksInUse, StreamOpened
from sdk_client.keys import SERVER_KEY_PREFIX, check_client_key
from sdk_client.loading import Loaded, Loader
from sdk_client.network import networks
from sdk_client.pulse import Unsubscribe
from sdk_client.reconnect import Backoff
from sdk_client.streaming import Driver
from sdk_client.subscription import Action, Became, Ended, Keep, Live, Subscription
from sdk_client.subscription import Fetch as FetchAction
from sdk_client.wakefulness import watch

__all__ = ["Counts", "Target", "Updater"]

LASTING: Final = 60.0
"""Seconds that a stream has to last before the log tells of the end of a trouble, and may tell of another."""

_log = logging.getLogger("sdk_client")


@dataclass(slots=True)
class Counts:
    """What a client has done since it started."""

    streams_opened: int = 0
    stream_errors: int = 0
    fetches: int = 0
    fetch_errors: int = 0
    callback_errors: int = 0
    hook_errors: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """The environment to follow, and how; `client_key` is None where it has to be found out from the server key."""

    addresses: Addresses
    key: str
    client_key: str | None
    request_timeout: float
    heartbeat: float = 15.0
    spread: float = 0.0
    poll_interval: float = 60.0
    streaming: bool = True
    local: bool = False
    backoff: Backoff | None = None

    def stream_key(self) -> str | None:
        """Return the key of the stream, None where only the server knows it."""
        if self.client_key is None and not self.key.startswith(SERVER_KEY_PREFIX):
            return self.key
        return self.client_key


class Updater:
    """Runs the streams and the fetches; `on_loaded` takes each answer to keep, and for how long it was missing."""

    def __init__(
        self,
        target: Target,
        *,
        random: Random,
        hooks: HooksInUse,
        on_loaded: Callable[[Loaded, float], None],
    ) -> None:
        self._target = target
        self._random = random
        self._hooks = hooks
        self._on_loaded = on_loaded
        self._at_hand = False
        self._etag = ""
        self._troubled = False
        self._proof: asyncio.TimerHandle | None = None
        self._loaded: Loaded | None = None
        self._unwatch: Unsubscribe | None = None
        self.subscription = Subscription(
            random=random,
            heartbeat=target.heartbeat,
            spread=target.spread,
            poll_interval=target.poll_interval or math.inf,
            polls=not target.streaming,
            backoff=target.backoff,
        )
        self.counts = Counts()
        self.answered = asyncio.Event()
        """Set once there is something to tell whoever waits: flags, or why there will be none."""
        self.last_error: DocumentError | None = None

    def begin_with(self, flags: Flags, etag: str = "") -> None:
        """Take, before `run`, the flags that there are already; `etag` belongs to them."""
        self._at_hand = flags.source is not Source.NONE
        self._etag = etag
        self.subscription.refetch.begin_with(flags.version, loaded=flags.source is Source.SERVER)

    async def run(self, http: httpx.AsyncClient, loader: Loader) -> None:
        """Keep the flags fresh for ever; ends by cancellation, or with a fault of our own."""
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._told_key: asyncio.Future[str] = loop.create_future()
        self._loader = loader
        sleepless = watch(loop).subscribe(self._woke)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._driver = Driver(http, self.subscription, self._act, self._tasks)
                self._tasks.create_task(self._driver.run())
                self._driver.do(self.subscription.start(loop.time()))
                if self._target.streaming:
                    self._tasks.create_task(self._follow())
        finally:
            sleepless()
            self._watch_network(None)
            self._doubt_it()

    def _woke(self) -> None:
        self._driver.do(self.subscription.woke(self._clock()))

    def _watch_network(self, stream: int | None) -> None:
        """Have the network under this stream watched, and under no other."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        connection = None if stream is None else self._driver.connections.get(stream)
        if connection is not None:
            local, peer = connection.get_extra_info("client_addr"), connection.get_extra_info("server_addr")
            self._unwatch = networks(asyncio.get_running_loop()).subscribe(local, peer, self._woke)

    async def _follow(self) -> None:
        key = self._target.stream_key() or await self._find_client_key()
        self._driver.url = self._target.addresses.stream_of(key)
        self._driver.do(self.subscription.follow(self._clock()))

    async def _find_client_key(self) -> str:
        if self._target.local:
            return await self._told_key  # the document says it
        backoff = self._target.backoff or Backoff()
        failures = 0
        while True:
            try:
                return check_client_key(await self._loader.client_key())
            except (DocumentError, ConfigurationError) as error:
                failures += 1
                if failures == 1:
                    _log.warning("no flag stream: its key could not be found (%s), trying again", error)
                self._driver.do(self.subscription.not_found(failures, self._clock()))
                floor = error.retry_after if isinstance(error, DocumentError) else 0.0
                await asyncio.sleep(backoff.delay(failures, self._random, floor=floor))

    def _act(self, action: Action) -> None:
        match action:
            case FetchAction(version):
                self._tasks.create_task(self._fetch(version))
            case Keep(behind):
                self._keep(behind)
            case Live(stream, seconds):
                self._watch_network(stream)
                self.counts.streams_opened += 1
                self._report_live()
                self._hooks.stream_opened(StreamOpened(seconds))
            case Ended():
                self._report_end(action)
                self._hooks.stream_ended(action.end)
            case Became(status):
                self._hooks.became(status)

    async def _fetch(self, version: int) -> None:
        self.counts.fetches += 1
        began = self._clock()
        try:
            self._loaded = loaded = await self._loader.load(version, self._etag)
        except DocumentError as error:
            self._report_failure(error, self._clock() - began)
            self._driver.do(self.subscription.fetch_failed(self._clock(), error.retry_after))
            return
        if self.last_error is not None:
            self.last_error = None
            _log.info("the flags API answers again")
        actions = self.subscription.fetched(loaded.answer, self._clock())
        outcome = FetchOutcome.UNCHANGED if isinstance(loaded.answer, Unchanged) else FetchOutcome.NEW
        if not any(isinstance(action, Keep) for action in actions):
            outcome = FetchOutcome.OLDER
        self._hooks.fetched(Fetch(outcome, self._clock() - began, loaded.answer.version))
        self._driver.do(actions)
        self.answered.set()

    def _keep(self, behind: float) -> None:
        if self._loaded is None:
            return
        if isinstance(self._loaded.answer, Document):
            self._etag = self._loaded.answer.etag
            if self._loaded.answer.client_key and not self._told_key.done():
                self._told_key.set_result(self._loaded.answer.client_key)
        self._on_loaded(self._loaded, behind)

    def _report_failure(self, error: DocumentError, seconds: float) -> None:
        self.counts.fetch_errors += 1
        before, self.last_error = self.last_error, error
        if before is None or type(before) is not type(error):  # once, not once an attempt
            _log.warning("flags could not be fetched (%s); they stay as they are, trying again", error)
        self._hooks.fetched(Fetch(FetchOutcome.FAILED, seconds, error=error))
        if self._at_hand or isinstance(error, KeyRefusedError):
            self.answered.set()

    def _report_live(self) -> None:
        """Tell of the end of a trouble once a stream has lasted: one that dies at once, again and again, is none."""
        if self._troubled and self._proof is None:
            self._proof = asyncio.get_running_loop().call_later(LASTING, self._report_back)

    def _report_back(self) -> None:
        self._proof = None
        self._troubled = False
        _log.info("the flag stream is back")

    def _doubt_it(self) -> None:
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None

    def _report_end(self, ended: Ended) -> None:
        if not ended.end.is_error or self.subscription.connection.live:
            _log.debug("a stream is over (%s), next one in %s s", ended.end.reason, ended.wait)
        elif not self._troubled:  # once, not once a try
            self._troubled = True
            _log.warning("the flag stream is down (%s); flags stay as they are, trying again", ended.end.reason)
        else:
            self._doubt_it()
        self.counts.stream_errors += ended.end.is_error
