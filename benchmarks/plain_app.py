"""The reference that one writes first: Starlette and sse-starlette, one `asyncio.Queue` and one task a stream.

    python -m benchmarks.plain_app PORT

``GET /sse/environments/{key}/stream`` opens a stream; ``POST /publish/{key}`` tells all streams of a key its body.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEARTBEAT = 60

queues: dict[str, set[asyncio.Queue[str]]] = defaultdict(set)
newest: dict[str, str] = {}


async def stream(request: Request) -> Response:
    key = request.path_params["key"]

    async def events() -> AsyncIterator[dict[str, object]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues[key].add(queue)
        try:
            if key in newest:
                yield {"event": "environment_updated", "data": newest[key], "retry": 2000}
            while True:
                yield {"event": "environment_updated", "data": await queue.get()}
        finally:
            queues[key].discard(queue)

    return EventSourceResponse(events(), ping=HEARTBEAT, sep="\n", headers={"Access-Control-Allow-Origin": "*"})


async def publish(request: Request) -> Response:
    key = request.path_params["key"]
    newest[key] = (await request.body()).decode()
    for queue in queues[key]:
        queue.put_nowait(newest[key])
    return Response()


app = Starlette(
    routes=[
        Route("/sse/environments/{key}/stream", stream),
        Route("/publish/{key}", publish, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        backlog=4096,
        timeout_keep_alive=3600,  # the publisher's connection is used once a round
    )
