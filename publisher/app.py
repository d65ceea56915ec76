"""The publisher, put together: settings in, ASGI application out. Nothing else in this package composes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from publisher import migrations
from publisher.announcing import Announcing
from publisher.api import (
    about,
    changes,
    documents,
    environments,
    features,
    projects,
    queue_change,
    states,
    tokens,
    versions,
)
from publisher.api.docs import page
from publisher.api.mount import routes
from publisher.api.openapi import document
from publisher.api.operation import Guard, Operation
from publisher.api.problems import http_exception
from publisher.dashboard.routes import fault_page, page_or
from publisher.dashboard.routes import routes as dashboard_routes
from publisher.dashboard.sessions import Sessions
from publisher.database import Database
from publisher.evaluations import Evaluations
from publisher.health import Health
from publisher.metrics import Metrics
from publisher.queue_change import ForeignChanges
from publisher.settings import PublisherSettings
from publisher.store import Store
from publisher.tasks import Tasks

__all__ = ["create_app"]


def create_app(settings: PublisherSettings, *, on_death: Callable[[], None] | None = None) -> Starlette:
    """Return the application; its lifespan migrates the database and runs the relay.

    `on_death` is called when a background task dies, after which the process must end; by default it is told to by
    SIGTERM. `app.state.health.draining = True` makes readiness fail.
    """
    metrics = Metrics()
    database = Database(settings.database_url)
    announcing = Announcing(settings, database, metrics)
    store = Store(database, announcing, on_write=metrics.write)
    sessions = Sessions(store, settings)
    guard = Guard(store, settings.admin_token.get_secret_value(), sessions)
    foreign, evaluations = ForeignChanges(store), Evaluations(store)
    health = Health(database, metrics, announcing.connected, announcing.fault, announcing.purges)
    operations = _operations(settings, announcing, foreign, evaluations)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = Tasks(on_death or _end_process)
        try:
            await migrations.upgrade(database)
            await announcing.start(tasks)
            tasks.start("queue-change", foreign.run())
            tasks.start("evaluations", evaluations.run())
            yield
            await announcing.stop()
        finally:
            await tasks.stop()
            await announcing.close()
            await database.close()

    app = Starlette(
        routes=[
            *health.routes(),
            *routes(operations, store=store, guard=guard, limit=settings.max_body_bytes, observe=metrics.request),
            *dashboard_routes(store, settings, sessions),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: page_or(http_exception, settings), Exception: fault_page(settings)},
    )
    app.router.redirect_slashes = False
    app.add_middleware(PlainPath)
    app.state.health = health
    app.state.store = store
    app.state.operations = operations
    return app


def _operations(
    settings: PublisherSettings, announcing: Announcing, foreign: ForeignChanges, evaluations: Evaluations
) -> list[Operation]:
    @cache
    def described() -> bytes:
        return msgspec.json.encode(document(operations, version=version("flagstream")))

    @cache
    def shown() -> str:
        return page(msgspec.json.decode(described()))

    operations = [
        *projects.OPERATIONS,
        *environments.OPERATIONS,
        *features.OPERATIONS,
        *states.OPERATIONS,
        *changes.OPERATIONS,
        *tokens.OPERATIONS,
        *about.operations(described, shown, announcing.counts, announcing.edges),
        *versions.operations(announcing.reset),
        *documents.operations(evaluations),
        *queue_change.operations(foreign, settings.sse_token.get_secret_value()),
    ]
    return operations


def _end_process() -> None:
    signal.raise_signal(signal.SIGTERM)


class PlainPath:
    """Folds `//a/b/` into `/a/b`: SDKs add slashes at both ends, depending on how their base URL is written."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = "/" + scope["path"].strip("/")
        await self._app(scope, receive, send)
