"""Health paths: alive as long as the loop turns, ready once all versions are read and until a stop begins."""

from __future__ import annotations

from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream_server.drain import Drain

__all__ = ["ROOM", "Health"]

LIVENESS: Final = ("/health/liveness", "/livez")
READINESS: Final = ("/health/readiness", "/readyz", "/health", "/sse/health")
NO_STORE: Final = {"Cache-Control": "no-store"}

ROOM: Final = "waiting_room"
"""In the answers of a waiting room: whoever looks for a server with news must not take it for one."""


class Source(Protocol):
    """Where the newest versions come from."""

    ready: bool
    connected: bool
    trouble: str


class Health:
    """Answers for one process; one without a `source` is a waiting room, which needs nothing to be ready."""

    def __init__(self, drain: Drain, source: Source | None) -> None:
        self._drain = drain
        self._source = source

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
        source = self._source
        if source is not None and not source.ready:
            trouble = source.trouble if source.connected else "NATS cannot be reached"
            reasons.append(f"the newest versions have not been read from NATS yet{trouble and f': {trouble}'}")
        return reasons

    async def _liveness(self, _: Request) -> Response:
        return JSONResponse({"status": "alive"}, headers=NO_STORE)

    async def _readiness(self, _: Request) -> Response:
        reasons = self.missing()
        body: dict[str, object] = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        if self._source is None:
            body[ROOM] = True
        else:
            body["nats"] = "connected" if self._source.connected else "away"
        return JSONResponse(body, status_code=503 if reasons else 200, headers=NO_STORE)
