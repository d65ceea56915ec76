"""The test service of sse-contract-tests around our connection: `python -m tests.sdk_client.contract.service --port N`.

Then, with the harness of github.com/launchdarkly/sse-contract-tests: `sse-contract-tests --url http://127.0.0.1:N`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sdk_client.contract.capabilities import CLAIMED
from tests.sdk_client.contract.followed import Followed
from tests.sdk_client.contract.params import ParamsError, StreamParams

_log = logging.getLogger("contract")


class Service:
    """Streams by number, each a task of its own."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._numbers = count(1)
        self._streams: dict[str, tuple[Followed, asyncio.Task[None]]] = {}
        self._http = httpx.AsyncClient(
            verify=False,  # noqa: S501 - the harness has no TLS, and reading certificates takes 20 ms
            trust_env=False,
            max_redirects=5,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/", self._status, methods=["GET"]),
            Route("/", self._create, methods=["POST"]),
            Route("/", self._quit, methods=["DELETE"]),
            Route("/streams/{number}", self._command, methods=["POST"]),
            Route("/streams/{number}", self._close, methods=["DELETE"]),
        ]

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        for number in [*self._streams]:
            await self._end(number)
        await self._http.aclose()

    async def _status(self, _: Request) -> Response:
        return JSONResponse({"name": "flagstream-sdk-client", "capabilities": sorted(CLAIMED)})

    async def _create(self, request: Request) -> Response:
        try:
            params = StreamParams.read(json.loads(await request.body()))
        except (ParamsError, json.JSONDecodeError, UnicodeDecodeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        number = str(next(self._numbers))
        followed = Followed(params, self._http)
        task = asyncio.create_task(followed.run(), name=params.tag or number)
        task.add_done_callback(_report)
        self._streams[number] = (followed, task)
        return Response(status_code=201, headers={"Location": str(request.url_for("_close", number=number))})

    async def _command(self, request: Request) -> Response:
        stream = self._streams.get(request.path_params["number"])
        if stream is None:
            return JSONResponse({"error": "no such stream"}, 404)
        try:
            command = json.loads(await request.body())["command"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
            command = None
        if command != "restart":
            return JSONResponse({"error": f"no such command: {command}"}, 400)
        stream[0].restart()
        return Response(status_code=202)

    async def _close(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number not in self._streams:
            return JSONResponse({"error": "no such stream"}, 404)
        await self._end(number)
        return Response(status_code=204)

    async def _quit(self, _: Request) -> Response:
        self.stop.set()
        return Response(status_code=204)

    async def _end(self, number: str) -> None:
        _, task = self._streams.pop(number)
        task.cancel()
        await asyncio.wait([task])


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("the stream of %s died", task.get_name(), exc_info=task.exception())


async def serve(listener: socket.socket) -> None:
    """Serve until somebody asks for the end by ``DELETE /``."""
    service = Service()
    app = Starlette(routes=service.routes, lifespan=service.lifespan)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    running = asyncio.create_task(server.serve([listener]))
    stopped = asyncio.create_task(service.stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopped.cancel()
    await running


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description="Test service for sse-contract-tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    listener = socket.create_server((arguments.host, arguments.port))
    host, port = listener.getsockname()[:2]
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 - with port 0 nobody would know otherwise
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(listener))


if __name__ == "__main__":
    main()
