"""Health paths: alive as long as the loop turns, ready once all versions are read and until a stop begins."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream_server.drain import Drain
from stream_server.feed import Feed

__all__ = ["Health"]

LIVENESS: Final = ("/health/liveness", "/livez")
READINESS: Final = ("/health/readiness", "/readyz", "/health", "/sse/health")
NO_STORE: Final = {"Cache-Control": "no-store"}


class Health:
    """Answers for one process."""

    def __init__(self, feed: Feed, drain: Drain) -> None:
        self._feed = feed
        self._drain = drain

    def routes(self) -> list[Route]:
        """Return the paths and their aliases, each with and without a trailing slash."""
        return [
            Route(path + slash, endpoint, methods=["GET"])
            for paths, endpoint in ((LIVENESS, self._liveness), (READINESS, self._readiness))
            for path in paths
            for slash in ("", "/")
        ]

    def missing(self) -> list[str]:
        """Return what keeps this process from being ready, in words."""
        reasons = []
        if self._drain.stopping:  # one that is replaced has a successor in its place
            reasons.append("this process is stopping")
        if not self._feed.ready:
            trouble = self._feed.trouble if self._feed.connected else "NATS cannot be reached"
            reasons.append(f"the newest versions have not been read from NATS yet{trouble and f': {trouble}'}")
        return reasons

    async def _liveness(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"}, headers=NO_STORE)

    async def _readiness(self, _: Request) -> Response:
        reasons = self.missing()
        body = {
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
            "nats": "connected" if self._feed.connected else "away",
        }
        return JSONResponse(body, status_code=503 if reasons else 200, headers=NO_STORE)
