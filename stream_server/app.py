"""Composition: the parts of one stream-server process, and the ASGI application made of them."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream_server.addresses import Addresses
from stream_server.admission import Admission
from stream_server.capacity import Capacity, open_files
from stream_server.control import LiveControls
from stream_server.counts import Counts
from stream_server.documents import Documents
from stream_server.drain import Drain
from stream_server.endpoint import StreamRoute
from stream_server.feed import Feed
from stream_server.health import Health
from stream_server.hub import Hub
from stream_server.lifetimes import Lifetimes
from stream_server.metrics import Metrics
from stream_server.operations import Operations
from stream_server.settings import StreamServerSettings
from stream_server.stream import Course
from stream_server.streams import Streams
from stream_server.supervision import vital
from stream_server.versions import SharedVersions
from stream_server.wheel import Wheel

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
class Parts:
    """What one process is made of."""

    metrics: Metrics
    versions: SharedVersions
    documents: Documents
    hub: Hub
    feed: Feed
    operations: Operations
    drain: Drain
    lifetimes: Lifetimes
    admission: Admission
    wheel: Wheel


def assemble(settings: StreamServerSettings, place: Place | None = None) -> Parts:
    """Make the parts of one process; nothing runs yet."""
    place = place or Place()
    metrics = Metrics()
    versions = SharedVersions(place.versions, settings.max_environments, place.regions, place.region)
    documents = Documents(settings, versions, metrics.registry)
    hub = Hub(
        newest=versions.newest,
        metrics=metrics,
        lifetime=settings.lifetime,
        min_interval=settings.min_interval,
        max_events=settings.events_of_a_stream,
    )
    controls = LiveControls()
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
        counts=Counts(hub, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"),
        metrics=metrics,
    )
    drain = Drain(settings.drain, metrics)
    return Parts(
        metrics=metrics,
        versions=versions,
        documents=documents,
        hub=hub,
        feed=feed,
        operations=operations,
        drain=drain,
        lifetimes=Lifetimes(settings, drain),
        admission=Admission(
            occupancy=hub,
            streams=Capacity.within(open_files(), settings.max_streams).streams,
            per_address=settings.streams_per_address,
            addresses=Addresses(settings.trusted_proxies),
            shedding=controls,
            metrics=metrics,
        ),
        wheel=Wheel(),
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

    streams = StreamRoute(
        streams=Streams(Course(parts.hub, parts.wheel, parts.metrics, parts.drain, settings.heartbeat)),
        hub=parts.hub,
        feed=parts.feed,
        lifetimes=parts.lifetimes,
        admission=parts.admission,
        reject_unknown=settings.unknown_keys == "reject",
    )
    app = Starlette(
        routes=[
            streams,
            *parts.documents.routes(),
            *Health(parts.feed, parts.drain).routes(),
            Route("/metrics", parts.metrics.endpoint, methods=["GET"]),
            Route("/metrics/", parts.metrics.endpoint, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect costs a round trip, and a published SDK its stream
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
