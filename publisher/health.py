"""Health and metrics over HTTP. Liveness fails only when a restart would help; readiness also while draining.

NATS being away makes the publisher neither dead nor unready: changes are kept in the outbox. The body says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from flagstream.logs import get_logger
from publisher import migrations, outbox
from publisher.database import Database
from publisher.messages import now
from publisher.metrics import CONTENT_TYPE, Metrics

__all__ = ["Health"]

_logger = get_logger(__name__)

TIMEOUT = 2.0
"""Seconds after which a database that does not answer counts as away."""


@dataclass(slots=True)
class Health:
    """What the probes ask; `draining` is set when the process begins to stop."""

    database: Database
    metrics: Metrics
    connected: Callable[[], bool]
    fault: Callable[[], str]
    purges: Callable[[], str]
    draining: bool = False

    def drain(self) -> None:
        """Make readiness fail from now on: the process is about to stop."""
        self.draining = True

    def routes(self) -> list[Route]:
        """Return the routes of probes and metrics."""
        live, ready = self.liveness, self.readiness
        return [
            *(Route(path, live) for path in ("/health/liveness", "/livez")),
            *(Route(path, ready) for path in ("/health/readiness", "/readyz", "/health", "/sse/health")),
            Route("/metrics", self.exposition),
        ]

    async def liveness(self, _: Request) -> Response:
        """Answer 200 as long as the loop turns."""
        return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def readiness(self, _: Request) -> Response:
        """Answer 200 when changes can be taken, 503 when not, and why."""
        database = await self._database()
        ready = database == "ok" and not self.draining
        content = {
            "status": "ok" if ready else "draining" if self.draining else "not ready",
            "database": database,
            "nats": self._nats(),
        }
        if purges := self.purges():
            content["purges"] = purges  # an edge that is not purged makes nothing here unready
        return JSONResponse(content, 200 if ready else 503, headers={"Cache-Control": "no-store"})

    def _nats(self) -> str:
        if not self.connected():
            return "away; changes wait in the outbox"
        return self.fault() or "ok"

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(TIMEOUT):
                return "ok" if await migrations.is_current(self.database) else "not migrated"
        except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
            _logger.warning("database does not answer", error=type(error).__name__)
            return "away"

    async def exposition(self, _: Request) -> Response:
        """Answer with all metrics; the outbox is looked at now."""
        try:
            async with asyncio.timeout(TIMEOUT), self.database.read() as session:
                waiting = await outbox.waiting(session)
        except (SQLAlchemyError, OSError):
            pass  # the last known figure stays
        else:
            age = 0 if waiting.oldest is None else max(now() - waiting.oldest, 0) / 1_000_000
            self.metrics.outbox(waiting.count, age)
        self.metrics.connected(now=self.connected())
        return Response(self.metrics.exposition(), media_type=CONTENT_TYPE)
