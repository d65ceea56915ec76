"""A waiting room: streams for everybody while no stream server answers, so that clients wait instead of hammering.

An edge falls over to it. Published SDKs answer an error, a reset or an empty body by coming back at once, some of them
a thousand times a second, and a browser's own EventSource never comes back; here every key gets a real stream that
beats, tells nothing and ends cleanly some seconds later. It needs no broker, no upstream and no disk.

With the setting ``waiting_for`` it sees a stream server come back, and lets its clients go to it: each stream ends as
soon as no cache can take it for fresh any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stream_server.cohorts import Cohorts
from stream_server.control import LiveControls
from stream_server.documents.answers import PREFLIGHT, send_json
from stream_server.endpoint import StreamRoute
from stream_server.engine import Engine, application
from stream_server.health import Health
from stream_server.lifetimes import Life, Lifetimes
from stream_server.metrics import Metrics
from stream_server.origins import Origins
from stream_server.settings import StreamServerSettings
from stream_server.supervision import vital

__all__ = ["WaitingRoom"]

DOCUMENTS: Final = ("/api/v1/{path:path}", "/ofrep/v1/{path:path}")
AWAY: Final = (
    b'{"detail": "This is a waiting room: no stream server can be reached at the moment, and flags come from there."}'
)
METHODS: Final = (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS")


class WaitingRoom:
    """One process of a waiting room; `settings` are `StreamServerSettings.of_waiting_room`."""

    def __init__(self, settings: StreamServerSettings) -> None:
        metrics = Metrics()
        self.engine = Engine.of(settings, metrics, newest=lambda _: 0, shedding=LiveControls())
        self.origins = Origins(settings.waiting_for, metrics.registry)
        # Where nothing that has ended is replayed, nobody has to wait until no cache takes his stream for fresh.
        age = 0.0 if settings.edge_guard else settings.shortest_stream
        self._cohorts = Cohorts(self.engine.streams(settings.heartbeat), self.engine.hub, age)
        self._lives = Lives(self.engine.lifetimes, self.origins, settings.shortest_stream)
        metrics.ready.set(1)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        streams = StreamRoute(
            streams=self._cohorts, lifetimes=self._lives, admission=self.engine.admission, is_unknown=None, named=False
        )
        documents = [Route(path, NoDocuments()) for path in DOCUMENTS]
        routes = [streams, *Health(self.engine.drain, None).routes(), *documents]
        return application(self.engine.metrics, routes, self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        engine = self.engine
        async with vital(
            origins=self.origins.run(),
            cohorts=self._cohorts.run(self.origins),
            wheel=engine.wheel.run(),
            metrics=engine.metrics.run(),
        ):
            yield


class Lives:
    """Random lives of some seconds; the `shortest` while an origin is ready, for the edge has only not noticed yet."""

    def __init__(self, lifetimes: Lifetimes, origins: Origins, shortest: float) -> None:
        self._lifetimes = lifetimes
        self._origins = origins
        self._shortest = lifetimes.of(shortest)

    def new(self) -> Life:
        """Return the life of a stream that opens now."""
        life = self._lifetimes.overload()
        return self._shortest if self._origins.ready and life.seconds > self._shortest.seconds else life

    def overload(self) -> Life:
        """Return the life of a stream that is opened in place of one that there is no room for: the same."""
        return self.new()


class NoDocuments:
    """Answers the document paths, which have nothing to give here."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an ASGI application."""
        del receive
        if scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": [*PREFLIGHT, METHODS]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send_json(send, 503, AWAY, [])
