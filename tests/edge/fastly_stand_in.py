"""A stand-in for Fastly's purge API on a real socket: token, limits, failures, slowness, and a record of purges.

It behaves as `publisher.purging.fastly` cites Fastly's documentation.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["SERVICE", "TOKEN", "FastlyStandIn"]

SERVICE: Final = "SU1Z0isxPaozGVKXdv0eY"
TOKEN: Final = "token-of-a-test"
MOST_KEYS: Final = 256


@dataclass
class FastlyStandIn:
    """`batches` are the surrogate keys of every request that was taken; `asked` counts all requests.

    `statuses` are the answers to the next requests, 200 when it is empty; `status` is the answer after them. `open` is
    cleared to freeze it: requests are read and not answered. `left` are the purges that a window still allows, and
    `reset` is when the next window begins (seconds since the epoch).
    """

    batches: list[list[str]] = field(default_factory=list)
    asked: int = 0
    statuses: deque[int] = field(default_factory=deque)
    status: int = 200
    left: int = 1_000_000
    reset: float = 0.0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/service/{service}/purge", self._purge, methods=["POST"]),
                Route("/service/{service}/purge/{key}", self._purge, methods=["POST"]),
            ]
        )

    @property
    def purged(self) -> list[str]:
        return [key for batch in self.batches for key in batch]

    async def until_asked(self, times: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(15):
            while self.asked < times:
                self.changed.clear()
                await self.changed.wait()

    async def _purge(self, request: Request) -> Response:
        self.asked += 1
        self.changed.set()
        await self.open.wait()
        if status := self._refusal(request):
            return JSONResponse({"msg": "refused"}, status)
        key = request.path_params.get("key")
        keys = [key] if key else request.headers.get("Surrogate-Key", "").split()
        if not 0 < len(keys) <= MOST_KEYS:
            return JSONResponse({"msg": "Bad request"}, 400)
        if time.time() >= self.reset > 0:
            self.left, self.reset = 1_000_000, 0.0
        limits = {"Fastly-RateLimit-Remaining": str(self.left), "Fastly-RateLimit-Reset": str(int(self.reset))}
        if self.left < len(keys):
            return JSONResponse({"msg": "You have exceeded your limit"}, 429, headers=limits)
        self.left -= len(keys)
        self.batches.append(keys)
        self.changed.set()
        if key:
            return JSONResponse({"status": "ok", "id": f"1-{self.asked}"}, headers=limits)
        return JSONResponse(dict.fromkeys(keys, f"1-{self.asked}"), headers=limits)

    def _refusal(self, request: Request) -> int:
        """Return the status of a refusal, 0 where the request is taken."""
        if request.headers.get("Fastly-Key") != TOKEN:
            return 401
        if request.path_params["service"] != SERVICE:
            return 404
        status = self.statuses.popleft() if self.statuses else self.status
        return 0 if status == 200 else status
