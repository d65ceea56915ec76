"""What opens streams and holds them, whatever they are told: the part that every program with streams has.

A stream server feeds it from the broker; a waiting room tells its streams nothing. Hand-off, admission, capacity, time,
drain and figures are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from stream_server.addresses import Addresses
from stream_server.admission import Admission, Shedding
from stream_server.capacity import Capacity, open_files
from stream_server.drain import Drain
from stream_server.hub import Hub
from stream_server.lifetimes import Lifetimes
from stream_server.metrics import Metrics
from stream_server.settings import StreamServerSettings
from stream_server.stream import Course
from stream_server.streams import Streams
from stream_server.wheel import Wheel

__all__ = ["Engine", "application"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of one process that carry its streams."""

    metrics: Metrics
    hub: Hub
    drain: Drain
    lifetimes: Lifetimes
    admission: Admission
    wheel: Wheel

    @classmethod
    def of(
        cls, settings: StreamServerSettings, metrics: Metrics, *, newest: Callable[[str], int], shedding: Shedding
    ) -> Engine:
        """Make the parts; nothing runs yet. `newest` looks up the newest version of an environment, 0 for none."""
        hub = Hub(
            newest=newest,
            metrics=metrics,
            lifetime=settings.lifetime,
            min_interval=settings.min_interval,
            max_events=settings.events_of_a_stream,
        )
        drain = Drain(settings.drain, metrics)
        return Engine(
            metrics=metrics,
            hub=hub,
            drain=drain,
            lifetimes=Lifetimes(settings, drain),
            admission=Admission(
                occupancy=hub,
                streams=Capacity.within(open_files(), settings.max_streams).streams,
                per_address=settings.streams_per_address,
                addresses=Addresses(settings.trusted_proxies),
                shedding=shedding,
                metrics=metrics,
            ),
            wheel=Wheel(),
        )

    def streams(self, heartbeat: float) -> Streams:
        """Return what opens streams with a comment every `heartbeat` seconds."""
        return Streams(Course(self.hub, self.wheel, self.metrics, self.drain, heartbeat))


Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def application(metrics: Metrics, routes: list[BaseRoute], lifespan: Lifespan) -> Starlette:
    """Return the ASGI application of one process: `routes`, `/metrics`, and errors as JSON."""
    figures = [Route(path, metrics.endpoint, methods=["GET"]) for path in ("/metrics", "/metrics/")]
    # Routes are tried in their order, and the first of `routes` is the one that storms come to.
    app = Starlette(routes=[*routes, *figures], exception_handlers={HTTPException: _refused}, lifespan=lifespan)
    app.router.redirect_slashes = False  # a redirect costs a round trip, and a published SDK its stream
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    headers = {"Cache-Control": "no-store", **(error.headers or {})}
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=headers)
