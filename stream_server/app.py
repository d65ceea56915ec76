"""Composition: the parts of one stream-server process, and the ASGI application made of them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from stream_server.control import LiveControls
from stream_server.counts import Counts
from stream_server.documents import Documents
from stream_server.endpoint import StreamRoute
from stream_server.engine import Engine, application
from stream_server.feed import Feed
from stream_server.health import Health
from stream_server.metrics import Metrics
from stream_server.operations import Operations
from stream_server.settings import StreamServerSettings
from stream_server.supervision import vital
from stream_server.versions import SharedVersions

__all__ = ["Parts", "Place", "assemble", "create_app"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among the workers of its host.

    `versions` is the file that they share, in which `region` of `regions` is this process's own. One that `replaces`
    another accepts connections only when all newest versions are read: the other one still does.
    """

    index: int = 0
    workers: int = 1
    versions: str | None = None
    region: int = 0
    regions: int = 1
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Parts(Engine):
    """What one process is made of."""

    versions: SharedVersions
    documents: Documents
    feed: Feed
    operations: Operations


def assemble(settings: StreamServerSettings, place: Place | None = None) -> Parts:
    """Make the parts of one process; nothing runs yet."""
    place = place or Place()
    metrics = Metrics()
    versions = SharedVersions(place.versions, settings.max_environments, place.regions, place.region)
    documents = Documents(settings, versions, metrics.registry)
    controls = LiveControls()
    engine = Engine.of(settings, metrics, newest=versions.newest, shedding=controls)
    hub = engine.hub
    operations = Operations(
        settings.control_key, documents=documents, live=controls, apply=hub.control, registry=metrics.registry
    )

    def on_news(key: str) -> None:
        documents.fetch_ahead(key)
        operations.on_news(key)

    feed = Feed(
        servers=settings.nats_url,
        credentials=settings.nats_credentials,
        resync_interval=settings.resync_interval,
        versions=versions,
        saved=documents.saved_versions(),
        hub=hub,
        on_news=on_news,
        on_foretold=documents.foretell,
        counts=Counts(hub, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"),
        metrics=metrics,
    )
    return Parts(
        metrics=metrics,
        hub=hub,
        drain=engine.drain,
        lifetimes=engine.lifetimes,
        admission=engine.admission,
        wheel=engine.wheel,
        versions=versions,
        documents=documents,
        feed=feed,
        operations=operations,
    )


def create_app(
    settings: StreamServerSettings, parts: Parts | None = None, *, first: Callable[[], Awaitable[object]] | None = None
) -> Starlette:
    """Return the ASGI application of one process; any ASGI server can run it.

    `first` is awaited before the application says that it has started, which servers accept connections after.
    """
    parts = parts or assemble(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await parts.documents.start()
        try:
            async with vital(
                feed=parts.feed.run(),
                operations=parts.operations.run(),
                wheel=parts.wheel.run(),
                metrics=parts.metrics.run(),
            ):
                await parts.operations.begun()
                if first is not None:
                    await first()
                yield
        finally:
            await parts.documents.stop()
            parts.versions.close()

    def is_unknown(key: str) -> bool:
        # Before the first reading nothing is known, and a 404 then would end published SDKs for good.
        return parts.feed.ready and not parts.hub.knows(key)

    streams = StreamRoute(
        streams=parts.streams(settings.heartbeat),
        lifetimes=parts.lifetimes,
        admission=parts.admission,
        is_unknown=is_unknown if settings.unknown_keys == "reject" else None,
        named=settings.edge,
    )
    routes = [streams, *parts.documents.routes(), *Health(parts.drain, parts.feed).routes()]
    return application(parts.metrics, routes, lifespan)
