"""The layers put together: which document answers a request, and when the upstream is asked.

A document is *current* when its version is not below what is wanted: the newest that the feed knows of its
environment, announced or foretold, and what the request itself asks for. For an environment that the feed knows nothing
of, nothing will ever say that its documents changed, so they count as current for a second only. One person's flags are
never current: traits change without an announcement, on any worker. Requests for them share a fetch, and the last is
kept for when the upstream fails.

What is announced and what is asked for are kept apart: anybody may ask for a version that does not exist yet, and that
must not make a fetch from before an announcement look like one from after it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from publisher.messages import now
from stream_server.documents.answers import Failure, Problem, Rendered
from stream_server.documents.document import SERVER_PREFIX, Document, DocumentKey
from stream_server.documents.flight import Flight, Flights
from stream_server.documents.memory import Entry, Memory
from stream_server.documents.prefetch import Prefetch
from stream_server.documents.upstream import Answer, RefusedError, UnavailableError

__all__ = ["Cache", "Served"]

PAUSE: Final = 1.0
"""Seconds between two tries for one document while nothing new was announced: it failed, or it lags."""

CHECKED_FOR: Final = 60.0
"""Seconds after which a document that nobody announced a change of is looked at again, behind the answer."""

MOST_FLIGHTS: Final = 2
"""Flights of one document at once: a slow one from before an update, and the one after it."""

RETRY_SOON: Final = [(b"retry-after", b"1")]
MOST_TRIES: Final = 65536
MOST_ENVIRONMENTS: Final = 65536

UNREACHABLE: Final = (
    "The management API that flags come from cannot be reached, and no copy of this document is at hand. "
    "Ask again in a second; if it lasts, check the stream server's upstream_url and the API's health."
)


class Newest(Protocol):
    """Knows the newest version of an environment, 0 where it knows none."""

    def newest(self, key: str) -> int:
        """Return it."""


class Source(Protocol):
    """The upstream."""

    async def get(self, path: str, environment_key: str, query: str = "", *, known: bool = False) -> Answer:
        """Fetch a document; raises `UnavailableError` or `RefusedError`."""


class Layer(Protocol):
    """A layer between memory and upstream. It never fails: what it cannot do it leaves."""

    async def get(self, key: DocumentKey) -> Document | None:
        """Return what it holds."""

    async def put(self, key: DocumentKey, document: Document) -> None:
        """Keep `document` unless it holds a newer one."""

    async def drop(self, key: DocumentKey) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Served:
    """The answer to a request, and which layer it is from: memory, redis, snapshot, upstream."""

    rendered: Rendered
    layer: str
    stale: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class _Landed:
    """What a flight brought: a document, or a refusal, or (neither) nothing because the upstream failed."""

    layer: str
    entry: Entry | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    """The last flight of a document: when it landed (monotonic), what was known when it began, and how it went."""

    at: float
    known: int
    wanted: int
    layer: str
    failed: bool
    problem: Problem | None


class Cache:
    """Documents by version, through all layers."""

    def __init__(
        self, *, memory: Memory, shared: Layer | None, snapshot: Layer | None, upstream: Source, versions: Newest
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._snapshot = snapshot
        self._upstream = upstream
        self._versions = versions
        self._flights: Flights[_Landed] = Flights()
        self._tried: OrderedDict[str, _Tried] = OrderedDict()
        self._environments: OrderedDict[str, str] = OrderedDict()
        self._prefetch = Prefetch(self._fetch_ahead)

    async def stop(self) -> None:
        """Give up what is under way."""
        self._prefetch.stop()
        await self._flights.stop()

    def environment_of(self, environment_key: str) -> str:
        """Return the client-side key of the environment behind either kind of key, empty where it is not known."""
        if not environment_key.startswith(SERVER_PREFIX):
            return environment_key
        return self._environments.get(environment_key, "")

    def announced(self, environment_key: str) -> int:
        """Return the newest known version of the environment behind a client-side or server-side key."""
        environment = self.environment_of(environment_key)
        return self._versions.newest(environment) if environment else 0

    def hit(self, key: DocumentKey, asked: int) -> Rendered | None:
        """Return the document when memory has a current one; `asked` is the version the request asks for."""
        entry = self._memory.get(key)
        if entry is None or entry.checked is None:
            return None
        version = entry.document.version
        environment = entry.document.environment
        announced = self._versions.newest(environment) if environment else 0
        if version < asked or version < announced:
            return None
        age = time.monotonic() - entry.checked
        if not announced and age >= PAUSE:
            return None
        if announced and age > CHECKED_FOR:
            self._check_again(key, announced)
        entry.served = True
        return entry.rendered

    async def get(self, key: DocumentKey, asked: int) -> Served:
        """Return the document for a request. Raises `Problem` where there is none to give."""
        rendered = self.hit(key, asked)
        if rendered is not None:
            return Served(rendered, "memory")
        known = self.announced(key.environment_key)
        wanted = known if key.is_personal else max(known, asked)
        served = await self._fetched(key, known, wanted)
        # A server-side key's environment may be known only from this answer on, and be announced beyond it.
        announced = self.announced(key.environment_key)
        if not served.stale and served.rendered.version < announced > wanted:
            served = await self._fetched(key, announced, announced)
        return served

    def fetch_ahead(self, environment: str) -> None:
        """Fetch again what clients were given of `environment` (a client-side key), which has a new version."""
        self._prefetch.add(self._memory.of_environment(environment))

    def remember(self, key: DocumentKey, document: Document) -> Entry:
        """Keep an answer that did not come by `get` as what is served when the upstream fails."""
        return self._memory.put(key, document, None)

    def remembered(self, key: DocumentKey) -> Rendered | None:
        """Return what is held for `key`, current or not."""
        entry = self._memory.get(key)
        return entry.rendered if entry else None

    def seal(self, path: str, environment_key: str) -> None:
        """Let nobody join the fetches of `path` that are under way: what they bring may be old already."""
        self._flights.seal(path, environment_key)

    def document(self, environment_key: str, answer: Answer, *, announced: int, began: int) -> Document:
        """Make the document of an upstream's answer; `announced` is what was known when the fetch began."""
        if answer.environment:
            self._learn(environment_key, answer.environment)
        environment = answer.environment or self.environment_of(environment_key)
        # A Flagsmith API's own header may lag by a minute, but its flags are from after the fetch began.
        version = answer.version if answer.labelled else max(answer.version, announced)
        stated = answer.version
        return Document(version=version, began=began, environment=environment, body=answer.body, stated=stated)

    async def _fetched(self, key: DocumentKey, known: int, wanted: int) -> Served:
        while True:
            tried = self._recent(key)
            if tried is not None and tried.known >= known and tried.wanted >= wanted:
                answer = self._answer_again(key, tried)
                if answer is not None:
                    return answer
            flight = self._flights.to_join(key, known, wanted)
            joined = flight is not None
            if flight is None:
                under_way = self._flights.under_way(key)
                looked = max((each.known for each in under_way), default=-1)
                looked = max(looked, tried.known if tried else -1)
                # What the feed announced is fetched at once. What only requests say is fetched once a second.
                urgent = key.is_personal or known > looked
                if under_way and (len(under_way) >= MOST_FLIGHTS or not urgent):
                    await asyncio.wait([under_way[0].landed])
                    continue
                flight = None if urgent else self._flights.to_come(key, wanted)
                joined = flight is not None
                if flight is None:
                    delay = 0.0 if urgent or tried is None else tried.at + PAUSE - time.monotonic()
                    flight = self._start(key, known, wanted, delay)
            landed = await asyncio.shield(flight.landed)
            return self._answer(key, landed, joined=joined)

    def _start(self, key: DocumentKey, known: int, wanted: int, delay: float = 0.0) -> Flight[_Landed]:
        fetch = partial(self._fly, key)
        return self._flights.start(key, known=known, wanted=wanted, fetch=fetch, delay=delay)

    def _fetch_ahead(self, key: DocumentKey) -> asyncio.Future[_Landed] | None:
        """Begin the fetch of a document that clients use and that is not the newest any more."""
        entry, known = self._memory.peek(key), self.announced(key.environment_key)
        if entry is None or not entry.served or not key.is_shared or entry.document.version >= known:
            return None
        if entry.document.stated < entry.document.version:
            return None  # a Flagsmith API may be behind its own event, and what is fetched early is kept
        if self._flights.to_join(key, known, known) or len(self._flights.under_way(key)) >= MOST_FLIGHTS:
            return None
        return self._start(key, known, known).landed

    def _recent(self, key: DocumentKey) -> _Tried | None:
        tried = self._tried.get(key.digest)
        return tried if tried is not None and time.monotonic() < tried.at + PAUSE else None

    def _answer_again(self, key: DocumentKey, tried: _Tried) -> Served | None:
        """Return what the last try means for one more request; None when what it brought was evicted since."""
        if tried.problem is not None:
            raise tried.problem.with_traceback(None)  # or each raise would make its traceback longer
        if key.is_personal and not tried.failed:
            return None
        held = self._memory.get(key)
        if held is None:
            if tried.failed:
                raise Failure(502, UNREACHABLE, headers=RETRY_SOON)
            return None
        held.served = True
        return Served(held.rendered, tried.layer if tried.failed else "memory", stale=tried.failed)

    def _answer(self, key: DocumentKey, landed: _Landed, *, joined: bool) -> Served:
        if landed.problem is not None:
            raise landed.problem.with_traceback(None)
        held = self._memory.get(key)
        if landed.entry is None:
            if held is None:
                raise Failure(502, UNREACHABLE, headers=RETRY_SOON)
            return Served(held.rendered, landed.layer, stale=True, joined=joined)
        # Another flight may have brought a newer one meanwhile, and one too large for the memory is not held at all.
        newest = landed.entry
        if held is not None and held.document.age_order > newest.document.age_order:
            newest = held
        newest.served = True
        return Served(newest.rendered, landed.layer, joined=joined)

    async def _fly(self, key: DocumentKey, flight: Flight[_Landed]) -> _Landed:
        """Bring a document from the layers below memory."""
        flight.known = self.announced(key.environment_key)
        flight.wanted = max(flight.wanted, flight.known)
        landed = await self._shared_or_fetched(key, flight)
        failed = landed.entry is None and landed.problem is None
        tried = _Tried(time.monotonic(), flight.known, flight.wanted, landed.layer, failed, landed.problem)
        self._note_tried(key.digest, tried)
        return landed

    def _note_tried(self, digest: str, tried: _Tried) -> None:
        """Remember the last flight of a document, and forget those that mean nothing any more."""
        self._tried[digest] = tried
        self._tried.move_to_end(digest)
        while len(self._tried) > MOST_TRIES or next(iter(self._tried.values())).at + PAUSE < tried.at:
            self._tried.popitem(last=False)

    async def _shared_or_fetched(self, key: DocumentKey, flight: Flight[_Landed]) -> _Landed:
        below = await self._shared.get(key) if self._shared is not None and key.is_shared else None
        if below is not None:
            self._learn(key.environment_key, below.environment)
            announced = self.announced(key.environment_key)
            if announced and below.version >= max(flight.wanted, announced) and self._is_news(key, below):
                return _Landed("redis", self._memory.put(key, below, time.monotonic()))
        announced = self.announced(key.environment_key)
        is_known = key.is_shared and (announced > 0 or bool(self._memory.of_environment_key(key.environment_key)))
        began = now()
        try:
            answer = await self._upstream.get(key.path, key.environment_key, key.query, known=is_known)
        except RefusedError as refused:
            flight.afterwards = self._forget_refused(key, refused.problem.status)
            return _Landed("upstream", problem=refused.problem)
        except UnavailableError:
            return await self._last_good(key)
        document = self.document(key.environment_key, answer, announced=announced, began=began)
        entry = self._memory.put(key, document, None if key.is_personal else time.monotonic())
        if key.is_shared:
            flight.afterwards = partial(self._keep, key, document)
        return _Landed("upstream", entry)

    def _is_news(self, key: DocumentKey, below: Document) -> bool:
        """Tell whether `below` says more than memory has: a look for silent changes must reach the upstream."""
        entry = self._memory.get(key)
        return entry is None or entry.document.age_order < below.age_order

    async def _last_good(self, key: DocumentKey) -> _Landed:
        """Bring the last good document into memory, from wherever one is."""
        if self._memory.get(key) is not None:
            return _Landed("memory")
        for name, layer in (("redis", self._shared), ("snapshot", self._snapshot)):
            document = await layer.get(key) if layer is not None and key.is_shared else None
            if document is not None:
                self._learn(key.environment_key, document.environment)
                self._memory.put(key, document, None)
                return _Landed(name)
        return _Landed("none")

    async def _keep(self, key: DocumentKey, document: Document) -> None:
        for layer in (self._shared, self._snapshot):
            if layer is not None:
                await layer.put(key, document)

    def _forget_refused(self, key: DocumentKey, status: int) -> Callable[[], Awaitable[None]] | None:
        """Forget, now in memory and then below, what the upstream does not give any more."""
        if status not in {401, 403, 404}:
            return None
        gone = {key}
        if status == 401:  # noqa: PLR2004 - the key itself is refused, so everything that it opened goes
            gone.update(self._memory.of_environment_key(key.environment_key))
            gone.update(key._replace(path=path, query="") for path in ("flags", "environment-document"))
        for each in gone:
            self._memory.drop(each)

        async def below() -> None:
            for layer in (self._shared, self._snapshot):
                for each in gone:
                    # Looked for first: a flood of made-up keys must not crowd out what waits to be written.
                    if layer is not None and each.is_shared and await layer.get(each) is not None:
                        await layer.drop(each)

        return below

    def _check_again(self, key: DocumentKey, announced: int) -> None:
        """Look behind the answer whether the upstream has changed what it never announced."""
        if self._recent(key) is None and not self._flights.under_way(key):
            self._start(key, announced, announced)

    def _learn(self, environment_key: str, environment: str) -> None:
        if not environment or not environment_key.startswith(SERVER_PREFIX):
            return
        self._environments[environment_key] = environment
        self._environments.move_to_end(environment_key)
        if len(self._environments) > MOST_ENVIRONMENTS:
            self._environments.popitem(last=False)
