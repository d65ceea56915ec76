"""Follows the newest version of every environment, by NATS, and tells the hub.

Live changes come by a plain subscription: it is the fastest, and after a restart of the server an ordered JetStream
consumer stays deaf for up to 19 s. What it misses is read: the newest message of every subject, after subscribing and
flushing, on every start, reconnection and slow-consumer error, and whenever the broker's stream moved more than was
seen (a partition between nodes of a cluster drops plain messages without a sign), or something was ignored that may be
right by now. Every step keeps the maximum.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from prometheus_client import Counter, Gauge, Histogram

from flagstream.logs import get_logger, key_id
from publisher.messages import (
    COUNTS_SUBJECT,
    FORETOLD_SUBJECTS,
    SUBJECTS,
    InvalidVersionError,
    broker,
    decode,
    foretold_key_of,
    is_too_far_ahead,
    key_of,
    now,
)

__all__ = ["Answering", "Audience", "Feed", "Figures", "Versions"]

log = get_logger(__name__)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Seconds between attempts to read; what was announced while NATS was away must be here within 2 s of its return."""

PROBE: Final = 1.0
"""Seconds for the question that comes before a reading: a broker that is starting leaves requests unanswered."""

FIRST_SAY: Final = 2.0
"""Seconds that the broker has at the start to say what is newest, before streams are told what was saved: a client that
comes back would otherwise be told less than it knew. With the broker away, what was saved is better than nothing."""

BATCH: Final = 1000

COMPARISONS: Final = 6
"""Comparisons after which is read all the same: one refused message seen live hides one stored message missed."""

ENVIRONMENT: Final = re.compile(r"(?<=flags\.environment\.)[A-Za-z0-9_-]+", re.IGNORECASE)
READING_FAILED: Final = (NatsError, broker.JetStreamError, broker.StreamMissingError, TimeoutError, OSError)


class Versions(Protocol):
    """The table of versions that the workers of one host share."""

    def advance(self, key: str, version: int) -> bool:
        """Raise `key` to `version`; True when that grew this process's own value."""

    @property
    def overflowed(self) -> int:
        """Environments that it had no room for: other workers do not see them."""


class Audience(Protocol):
    """Who is told of versions: the hub of a stream server, or what carries them to another fan-out."""

    known: int
    """Environments with a version."""

    def dispatch(self, key: str, version: int) -> bool:
        """Tell the streams of `key` of `version`; True when it is news. Must not block, await or raise."""


class Answering(Protocol):
    """What answers how many streams there are."""

    async def on_request(self, message: Msg) -> None:
        """Answer a `CountsRequest` off the wire."""


class Figures(Protocol):
    """The figures that a feed keeps."""

    feed_lag_seconds: Histogram
    resyncs: Counter
    failed_resyncs: Counter
    ignored: Counter
    nats_connected: Gauge
    versions_overflowed: Gauge
    ready: Gauge


@dataclass(slots=True)
class _Seen:
    """What was seen of the broker's stream: where it stood, and how many newer versions came live since.

    `ahead` is whether a version was ignored as too far ahead of this clock, which may be put right.
    """

    created: str = ""
    last_sequence: int = 0
    live: int = 0
    ahead: bool = False

    def covers(self, mark: broker.StreamMark) -> bool:
        """Tell whether nothing can have been missed up to `mark`."""
        moved = mark.last_sequence - self.last_sequence
        return mark.created == self.created and 0 <= moved <= self.live and not self.ahead


class Feed:
    """Reads and follows; `run` ends only by an error that the process should not survive.

    `saved` are the versions of a snapshot on disk: told when the broker has been read, or after `FIRST_SAY` without
    it. `on_news` is told of every environment with a newer version, after its streams. `on_foretold` is told of
    versions that are not announced yet, of which streams must not hear.
    """

    def __init__(
        self,
        *,
        servers: tuple[str, ...],
        credentials: str,
        resync_interval: float,
        versions: Versions,
        saved: Mapping[str, int],
        hub: Audience,
        on_news: Callable[[str], None],
        on_foretold: Callable[[str, int], None] | None = None,
        counts: Answering,
        metrics: Figures,
    ) -> None:
        self._servers = servers
        self._credentials = credentials
        self._resync_interval = resync_interval
        self._versions = versions
        self._saved = saved
        self._hub = hub
        self._on_news = on_news
        self._on_foretold = on_foretold
        self._counts = counts
        self._metrics = metrics
        self._wanted = asyncio.Event()
        self._cause = "start"
        self._seen = _Seen()
        self._comparisons = 0
        self._overflowed = 0
        self.connected = False
        """Whether the broker can be reached now."""
        self.ready = False
        """Whether all newest versions were read once; they are kept, so this stays true when NATS goes."""
        self.trouble = ""
        """Why the last reading did not succeed, in words."""
        self.loaded = asyncio.Event()
        """Set with `ready`."""
        self.told = asyncio.Event()
        """Set when streams may open: the versions are loaded, or the broker had its time to say them."""

    async def run(self) -> None:
        """Connect, read, follow, for ever."""
        told_anyway = asyncio.get_running_loop().call_later(FIRST_SAY, self._go_without)
        client = await broker.connect(
            self._servers,
            name="flagstream stream server",
            credentials=self._credentials,
            on_connected=self._on_connected,
            on_disconnected=self._on_disconnected,
            on_error=self._on_error,
        )
        try:
            await self._wanted.wait()
            # From the first connection on; later connections keep both.
            await client.subscribe(SUBJECTS, cb=self._on_message)
            await client.subscribe(COUNTS_SUBJECT, cb=self._counts.on_request)
            if self._on_foretold is not None:
                await client.subscribe(FORETOLD_SUBJECTS, cb=self._on_foretold_message)
            await self._follow(client)
        finally:
            told_anyway.cancel()
            await client.close()

    def _go_without(self) -> None:
        """Tell what was saved: the broker says nothing."""
        self._take_saved()
        self.told.set()

    def _take_saved(self) -> None:
        """Take over the versions of the snapshot, once."""
        saved, self._saved = self._saved, {}
        for key, version in saved.items():
            self._take(key, version)

    def _on_connected(self) -> None:
        self.connected = True
        self._metrics.nats_connected.set(1)
        self._want("reconnect" if self.ready else "start")

    def _on_disconnected(self) -> None:
        self.connected = False
        self._metrics.nats_connected.set(0)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self._want("slow consumer")
        else:
            log.warning("NATS error", error=_in_words(error))

    def _want(self, cause: str) -> None:
        self._cause = cause
        self._wanted.set()

    async def _follow(self, client: Client) -> None:
        pause = FIRST_PAUSE
        while True:
            if not self._wanted.is_set():
                await self._watch(client)
                continue
            self._wanted.clear()
            if await self._read(client):
                pause = FIRST_PAUSE
                continue
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads attempts, no secret
            pause = min(pause * 2, LONGEST_PAUSE)
            self._wanted.set()

    async def _watch(self, client: Client) -> None:
        """Wait until a reading is wanted; every `resync_interval` compare the broker's own count with what was seen."""
        try:
            async with asyncio.timeout(self._resync_interval):
                await self._wanted.wait()
        except TimeoutError:
            if not self.connected:
                return
            self._comparisons += 1
            if not await self._nothing_missed(client):
                self._want("ahead" if self._seen.ahead else "gap")
            elif self._comparisons >= COMPARISONS:
                self._want("routine")

    async def _nothing_missed(self, client: Client) -> bool:
        try:
            mark = await broker.read_mark(client)
            await client.flush()  # what the mark counts is received by now
        except READING_FAILED:
            return False
        if not self._seen.covers(mark):
            return False
        # A message that the broker refused was seen all the same: start to count anew, so that it hides no gap.
        self._seen = _Seen(mark.created, mark.last_sequence)
        return True

    async def _read(self, client: Client) -> bool:
        """Read the newest version of every environment; False when that did not succeed."""
        if not self.connected:
            return False
        try:
            async with asyncio.timeout(PROBE):
                await client.flush()  # the subscription is in place at the server before anything is read
                await broker.read_mark(client)
            newest = await broker.read_newest(client)
        except READING_FAILED as error:
            self._failed(_in_words(error))
            return False
        if not newest.versions and (self._hub.known or self._saved):
            # A broker that lost its disk; the publisher fills it again. What is known is kept.
            self._failed("the broker's stream is empty although versions are known")
            return False
        if newest.invalid:
            self._metrics.ignored.labels("invalid").inc(newest.invalid)
        self._comparisons = 0
        self._seen = _Seen(newest.created, newest.last_sequence)
        await self._take_all(newest.versions)
        self._take_saved()
        self._metrics.resyncs.labels(self._cause).inc()
        self.trouble = ""
        if not self.ready:
            self.ready = True
            self.loaded.set()
            self.told.set()
            self._metrics.ready.set(1)
            log.info("all newest versions are read", environments=len(newest.versions))
        return True

    def _failed(self, reason: str) -> None:
        self.trouble = reason
        self._metrics.failed_resyncs.inc()
        log.debug("newest versions could not be read", reason=reason)

    async def _take_all(self, versions: Mapping[str, int]) -> None:
        for position, (key, version) in enumerate(versions.items(), start=1):
            self._take(key, version)
            if position % BATCH == 0:
                await asyncio.sleep(0)

    def _ignore_ahead(self, key: str) -> None:
        """Count a version too far ahead, and say so once until the next reading."""
        self._metrics.ignored.labels("ahead").inc()
        if not self._seen.ahead:
            log.warning("ignored versions that are too far ahead of this clock", environment=key_id(key))
        self._seen.ahead = True

    async def _on_message(self, message: Msg) -> None:
        key, version = key_of(message.subject), _version_in(message)
        if key is None or not version:
            self._metrics.ignored.labels("invalid").inc()
            return
        if self._take(key, version):
            self._seen.live += 1
            self._metrics.feed_lag_seconds.observe(max(now() - version, 0) / 1_000_000)

    async def _on_foretold_message(self, message: Msg) -> None:
        """Tell the documents alone; what is wrong with a version is counted when it is announced."""
        key, version = foretold_key_of(message.subject), _version_in(message)
        if key is not None and version and not is_too_far_ahead(version) and self._on_foretold is not None:
            self._on_foretold(key, version)

    def _take(self, key: str, version: int) -> bool:
        """Tell the shared table, then the streams; True when it is news to this process's feed.

        The table comes first: a client that hears of a version here may ask any worker for its document.
        """
        if is_too_far_ahead(version):
            self._ignore_ahead(key)
            return False
        news = self._versions.advance(key, version)
        self._hub.dispatch(key, version)
        if news:
            self._on_news(key)
            self._note_overflow()
        return news

    def _note_overflow(self) -> None:
        overflowed = self._versions.overflowed
        if overflowed > self._overflowed:
            if not self._overflowed:
                log.warning("there are more environments than max_environments: workers do not share the rest")
            self._overflowed = overflowed
            self._metrics.versions_overflowed.set(overflowed)


def _version_in(message: Msg) -> int:
    """Return the version in a payload, 0 where there is none."""
    try:
        return decode(message.data)
    except InvalidVersionError:
        return 0


def _in_words(error: Exception) -> str:
    """Say what went wrong without an environment's key, which NATS quotes as part of a subject."""
    text = ENVIRONMENT.sub(lambda found: key_id(found[0]), str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
