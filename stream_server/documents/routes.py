"""Composition: the layers, the endpoints, and what runs behind them."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.routing import Route

from stream_server.documents.analytics import Analytics
from stream_server.documents.answers import Problem
from stream_server.documents.cache import Cache
from stream_server.documents.counts import Counts
from stream_server.documents.document import DocumentKey
from stream_server.documents.endpoint import AnalyticsEndpoint, DocumentEndpoint, Endpoint, IdentitiesEndpoint
from stream_server.documents.foretold import Foretold
from stream_server.documents.identities import Identities
from stream_server.documents.memory import Memory
from stream_server.documents.redis_layer import RedisLayer
from stream_server.documents.snapshot import Snapshot
from stream_server.documents.upstream import Upstream
from stream_server.settings import StreamServerSettings
from stream_server.supervision import vital
from stream_server.versions import SharedVersions

__all__ = ["Documents", "FlagsDocument", "NoDocumentError"]


class NoDocumentError(Exception):
    """No layer has the document, and the upstream gives none."""


@dataclass(frozen=True, slots=True)
class FlagsDocument:
    """The JSON of ``/api/v1/flags/`` and its version in microseconds.

    It is `current` unless a newer one is announced or the upstream cannot be asked.
    """

    body: bytes
    version: int
    current: bool


class Documents:
    """The document paths of one process: `routes` to mount, `start` before serving, `stop` after.

    Should what works behind the requests ever fail, the process ends: documents that are never written or passed on
    must not look well.
    """

    def __init__(self, settings: StreamServerSettings, versions: SharedVersions, registry: CollectorRegistry) -> None:
        counts = Counts(registry)
        redis_url = settings.redis_url.get_secret_value()
        self._redis = RedisLayer(redis_url, settings.redis_timeout, counts) if redis_url else None
        self._snapshot = Snapshot(settings.snapshot_dir, versions, counts) if settings.snapshot_dir else None
        self._upstream = Upstream(settings.upstream_url, settings.upstream_timeout, counts.upstream_seconds)
        self._analytics = Analytics(self._upstream, counts.analytics_dropped)
        self._foretold = Foretold(versions)
        self._cache = Cache(
            memory=Memory(settings.document_memory_bytes, named=settings.edge),
            shared=self._redis,
            snapshot=self._snapshot,
            upstream=self._upstream,
            versions=self._foretold,
        )
        identities = Identities(self._cache, self._upstream)
        limit, named = settings.max_body_bytes, settings.edge
        self._endpoints: dict[str, Endpoint] = {
            "/api/v1/flags": DocumentEndpoint("flags", self._cache, counts, named=named),
            "/api/v1/environment-document": DocumentEndpoint("environment-document", self._cache, counts, named=named),
            "/api/v1/identities": IdentitiesEndpoint(self._cache, identities, counts, max_body_bytes=limit),
            "/api/v1/analytics/flags": AnalyticsEndpoint(self._analytics.collect, counts, max_body_bytes=limit),
        }
        self._behind = AsyncExitStack()

    def routes(self) -> list[Route]:
        """Return the routes, each path with and without its slash at the end."""
        return [Route(path + end, endpoint) for path, endpoint in self._endpoints.items() for end in ("/", "")]

    def saved_versions(self) -> dict[str, int]:
        """Return the versions of the snapshot on disk, which the feed starts with."""
        return self._snapshot.saved_versions() if self._snapshot is not None else {}

    def foretell(self, environment: str, version: int) -> None:
        """Serve no document of `environment` any more that is older than `version`, which is not announced yet."""
        if self._foretold.note(environment, version):
            self._cache.fetch_ahead(environment)

    def fetch_ahead(self, environment: str) -> None:
        """Fetch again, behind everything else, what clients use of `environment`: it has a new version."""
        self._foretold.settle(environment)
        self._cache.fetch_ahead(environment)

    async def flags(self, environment_key: str) -> FlagsDocument:
        """Return the flags of an environment to this process itself, through all layers. Raises `NoDocumentError`."""
        try:
            served = await self._cache.get(DocumentKey("flags", environment_key), 0)
        except Problem as problem:
            raise NoDocumentError(str(problem)) from problem
        version = served.rendered.version
        current = not served.stale and version >= self._cache.announced(environment_key)
        return FlagsDocument(served.rendered.body, version, current=current)

    async def saved_flags(self, environment_key: str) -> FlagsDocument | None:
        """Return the flags of an environment as the snapshot on disk has them, which takes no upstream."""
        if self._snapshot is None:
            return None
        saved = await self._snapshot.get(DocumentKey("flags", environment_key))
        return None if saved is None else FlagsDocument(saved.body, saved.version, current=False)

    async def start(self) -> None:
        """Begin what works behind the requests: writing the snapshot, passing reports on, looking after Redis."""
        work: dict[str, Coroutine[Any, Any, None]] = {"analytics": self._analytics.run()}
        if self._snapshot is not None:
            work["snapshot"] = self._snapshot.run()
        if self._redis is not None:
            work["redis"] = self._redis.run()
        await self._behind.enter_async_context(vital(**work))

    async def stop(self) -> None:
        """End it, write what is not yet written, close every connection."""
        await self._behind.aclose()
        await self._cache.stop()
        if self._snapshot is not None:
            await self._snapshot.stop()  # first: what else is slow now must not cost the next process its documents
        await self._analytics.stop()
        if self._redis is not None:
            await self._redis.stop()
        await self._upstream.close()
