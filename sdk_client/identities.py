"""Identities evaluated by the server: ``POST /api/v1/identities/``, and a memory that spares most of the requests.

An identity's flags stay valid until the environment changes: the stream tells of that, and the next one who asks for
the identity fetches again. Whoever asks for the same meanwhile waits for the same request. While requests fail, there
is none before the back-off has passed, so a server that is down is not asked once more for every page view.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from sdk_client.documents import Document
from sdk_client.errors import ClientStoppedError, DocumentError
from sdk_client.flags import Flags, Source
from sdk_client.reconnect import Backoff
from sdk_client.traits import IdentityRequest, identity_request

__all__ = ["Identities", "IdentityCounts", "IdentityLoader"]

_log = logging.getLogger("sdk_client")

LIMIT: Final = 1000
"""Identities, each with its traits, whose flags are remembered."""

MAX_REQUESTS: Final = 8
"""Requests at a time: after a change, all identities of a busy program are due at once."""

MAX_AGE: Final = 300.0
"""Seconds after which flags are fetched again though no change was heard of: a server keeps traits, others set them."""

SOON: Final = 5.0
"""Seconds until an identity is asked for again whose answer was older than the environment's flags, or stale."""

REFUSAL: Final = 60.0
"""Seconds until an identity is asked for again that the server refused, unless the environment changes before."""

_ITS_OWN_FAULT: Final = (400, 413, 422)
"""Statuses that speak of one identity, its length or its traits, and not of the server."""


class IdentityLoader(Protocol):
    """Who sends the requests, each bounded in time."""

    async def identity(self, request: IdentityRequest, version: int) -> Document:
        """Return the flags at `version` or newer (0: whatever there is); raises DocumentError and nothing else."""


@dataclass(slots=True)
class IdentityCounts:
    """What was asked for and how it was answered; `remembered` and `fallbacks` are answers without fresh flags."""

    requests: int = 0
    failures: int = 0
    remembered: int = 0
    fallbacks: int = 0


@dataclass(slots=True)
class _Entry:
    """What is known of an identity: its last flags, and until when nothing is to be asked, if nothing changes."""

    flags: Flags | None
    generation: int
    until: float
    refused: bool = False


class Identities:
    """Flags of identities by `loader`; `environment` returns the environment's flags, as they are at that moment.

    For one event loop. `limit` is how many identities are remembered; the least recently asked for go first.
    """

    def __init__(
        self,
        loader: IdentityLoader,
        environment: Callable[[], Flags],
        *,
        random: Random,
        backoff: Backoff | None = None,
        limit: int = LIMIT,
    ) -> None:
        self._loader = loader
        self._environment = environment
        self._random = random
        self._backoff = backoff or Backoff(base=0.5)
        self._limit = limit
        self._entries: OrderedDict[IdentityRequest, _Entry] = OrderedDict()
        self._flights: dict[tuple[IdentityRequest, int], asyncio.Task[Flags | None]] = {}
        self._gate = asyncio.Semaphore(MAX_REQUESTS)
        self._seen = environment()
        self._generation = 0
        self._failures = 0
        self._resume = 0.0
        self._last: DocumentError | None = None
        self._told_of_refusal = False
        self._closed = False
        self.counts = IdentityCounts()

    async def get(self, identifier: str, traits: Mapping[str, Any] | None = None) -> Flags:
        """Return the flags of an identity: fresh ones, or the best there are, of which `Flags.source` tells.

        When they cannot be fetched: those it had before (CACHE), or else the environment's own (ENVIRONMENT).
        Raises ConfigurationError for an identifier or trait that cannot be one. Only while not even the environment's
        flags are there, raises DocumentError, or ClientStoppedError once closed.
        """
        request = identity_request(identifier, traits)
        self._notice()
        entry = self._entries.get(request)
        if entry is not None:
            self._entries.move_to_end(request)
            if entry.generation == self._generation and _now() < entry.until:
                if entry.refused or entry.flags is None:
                    return self._best(request)
                self.counts.remembered += 1
                return entry.flags
        flags = await self._flight(request) if self._may_ask() else None
        return self._best(request) if flags is None else flags

    async def aclose(self) -> None:
        """Give up what is under way; whoever waits for it, or asks later, gets the best there is."""
        self._closed = True
        flights = [*self._flights.values()]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _notice(self) -> None:
        environment = self._environment()
        if environment is not self._seen:
            # Without versions every document may be another one.
            if not environment.version or environment.version != self._seen.version:
                self._generation += 1
            self._seen = environment

    def _may_ask(self) -> bool:
        return not self._closed and _now() >= self._resume

    async def _flight(self, request: IdentityRequest) -> Flags | None:
        key = (request, self._generation)
        flight = self._flights.get(key)
        if flight is None:
            # A task, for whoever began may be cancelled while others wait.
            flight = self._flights[key] = asyncio.create_task(self._fetch(request))
            flight.add_done_callback(lambda _: self._flights.pop(key))
        await asyncio.wait([flight])
        return None if flight.cancelled() else flight.result()

    async def _fetch(self, request: IdentityRequest) -> Flags | None:
        async with self._gate:
            if not self._may_ask():  # another one has failed meanwhile
                return None
            self._notice()
            generation, version = self._generation, self._seen.version
            self.counts.requests += 1
            try:
                document = await self._loader.identity(request, version)
            except DocumentError as error:
                self._failed(request, generation, error)
                return None
        self._worked()
        is_behind = document.stale or (document.labelled and document.version < version)
        # A server that does not label its documents is believed, as with the environment's.
        held = document.version if document.labelled else max(document.version, version)
        flags = Flags(document.flags, held, Source.CACHE if document.stale else Source.SERVER)
        self._keep(request, _Entry(flags, generation, _now() + (SOON if is_behind else MAX_AGE)))
        return flags

    def _keep(self, request: IdentityRequest, entry: _Entry) -> None:
        held = self._entries.get(request)
        if held is None or held.generation <= entry.generation:
            self._entries[request] = entry
            self._entries.move_to_end(request)
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def _worked(self) -> None:
        if self._failures:
            _log.info("identities are fetched again")
        self._failures = 0
        self._resume = 0.0

    def _failed(self, request: IdentityRequest, generation: int, error: DocumentError) -> None:
        self.counts.failures += 1
        self._last = error
        if error.status in _ITS_OWN_FAULT:
            held = self._entries.get(request)
            flags = None if held is None else held.flags
            self._keep(request, _Entry(flags, generation, _now() + REFUSAL, refused=True))
            if not self._told_of_refusal:
                self._told_of_refusal = True
                _log.warning("the server refused an identity, or its traits: %s", error)
        elif self._may_ask():  # of requests that fail together, one counts
            if not self._failures:
                _log.warning("identities cannot be fetched: %s; the flags known before are used", error)
            self._failures += 1
            self._resume = _now() + self._backoff.delay(self._failures, self._random, floor=error.retry_after)

    def _best(self, request: IdentityRequest) -> Flags:
        self.counts.fallbacks += 1
        entry = self._entries.get(request)
        if entry is not None and entry.flags is not None:
            return Flags(entry.flags, entry.flags.version, Source.CACHE)
        environment = self._environment()
        if environment.source is not Source.NONE:
            return Flags(environment, environment.version, Source.ENVIRONMENT)
        if self._closed or self._last is None:
            raise ClientStoppedError("the client is closed, and no flags were ever loaded")
        raise self._last.with_traceback(None)  # the same error for each who asks: its traces would add up


def _now() -> float:
    return asyncio.get_running_loop().time()
