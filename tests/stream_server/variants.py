"""The ASGI servers that the stream server's application runs on, and what is to be expected of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx
import hypercorn.asyncio
import hypercorn.config
import uvicorn
from starlette.types import ASGIApp

from flagstream.protocol import HttpProtocol
from stream_server.app import Parts, assemble, create_app
from stream_server.connection import Connection
from stream_server.listening import bind, url_of
from stream_server.settings import StreamServerSettings
from tests.stream_server.raw import PATIENCE, Answer, CutError, running, until

__all__ = ["VARIANTS", "Place", "Variant"]

Serving = Callable[[StreamServerSettings], AbstractAsyncContextManager["Place"]]


@dataclass(frozen=True)
class Place:
    """Where an application is served, and its parts."""

    url: str
    parts: Parts


class Answer2:
    """One answer over HTTP/2; what `Answer` is for HTTP/1.1."""

    def __init__(self, client: httpx.AsyncClient, response: httpx.Response) -> None:
        self._client = client
        self._response = response
        self._parts = response.aiter_raw()
        self.status = response.status_code
        self.headers = dict(response.headers)

    @classmethod
    async def to(
        cls, url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Self:
        # There is no TLS here, and reading certificates takes most of a client's time to start.
        client = httpx.AsyncClient(http1=False, http2=True, timeout=PATIENCE, verify=False)  # noqa: S501 - as said
        request = client.build_request(method, url + path, headers=headers, content=body or None)
        response = await client.send(request, stream=True)
        assert response.http_version == "HTTP/2"
        return cls(client, response)

    async def chunk(self) -> bytes | None:
        """Return what the next DATA frames hold, None at the clean end; raises `CutError` where there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await anext(self._parts)
        except StopAsyncIteration:
            return None
        except httpx.RemoteProtocolError:
            raise CutError from None

    async def content(self) -> bytes:
        return await self._response.aread()

    async def close(self) -> None:
        await self._response.aclose()
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@dataclass(frozen=True)
class Variant:
    """A server, how clients speak to it, and what it can do that not every server can."""

    name: str
    serve: Serving
    ask: Callable[..., Awaitable[Answer | Answer2]] = Answer.to
    http_1: bool = True
    old: bool = True
    """HTTP/1.0 gets its stream without chunks."""
    quiet: bool = True
    """Nothing is logged when a stream is cut."""


@asynccontextmanager
async def own(settings: StreamServerSettings) -> AsyncIterator[Place]:
    """Our own server: streams are handed off to the bare descriptor."""
    async with running(settings) as server:
        yield Place(server.url, server.parts)


def by_uvicorn(http: Any) -> Serving:
    """uvicorn's own server with the protocol `http`."""

    @asynccontextmanager
    async def serving(settings: StreamServerSettings) -> AsyncIterator[Place]:
        parts = assemble(settings)
        config = uvicorn.Config(
            create_app(settings, parts),
            http=http,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="info",  # or that of the last server of this process, which a test may have silenced
            server_header=False,
        )
        server = uvicorn.Server(config)
        [listener] = bind("127.0.0.1", 0, 1)
        task = asyncio.create_task(server.serve([listener]))
        try:
            await until(lambda: server.started, "the server's start")
            yield Place(url_of(listener), parts)
        finally:
            server.should_exit = True
            await parts.hub.end_all(clean=False)
            await task

    return serving


@asynccontextmanager
async def by_hypercorn(settings: StreamServerSettings) -> AsyncIterator[Place]:
    """hypercorn, which speaks HTTP/1.1 and HTTP/2 on one port."""
    parts = assemble(settings)
    started = asyncio.Event()
    stop = asyncio.Event()
    app = create_app(settings, parts)

    async def noticing(scope: Any, receive: Any, send: Any) -> None:
        async def send_on(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                started.set()

        await app(scope, receive, send_on if scope["type"] == "lifespan" else send)

    [listener] = bind("127.0.0.1", 0, 1)
    url = url_of(listener)
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = 1
    # Over HTTP/2 a stream that is cut ends only with its connection; before its first request that is as idle.
    config.keep_alive_timeout = 2.0
    serving: ASGIApp = noticing
    task = asyncio.create_task(
        hypercorn.asyncio.serve(serving, config, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type] # it wants its own names of the same types
    )
    try:
        await asyncio.wait([task, asyncio.ensure_future(started.wait())], return_when=asyncio.FIRST_COMPLETED)
        yield Place(url, parts)
    finally:
        stop.set()
        await parts.hub.end_all(clean=False)
        await task


VARIANTS = [
    Variant("ours", own),
    Variant("our protocol on uvicorn's transports", by_uvicorn(Connection)),
    Variant("our protocol without the hand-off", by_uvicorn(HttpProtocol), quiet=False),
    Variant("uvicorn, httptools", by_uvicorn("httptools"), old=False, quiet=False),
    Variant("uvicorn, h11", by_uvicorn("h11"), old=True, quiet=False),
    Variant("hypercorn, HTTP/1.1", by_hypercorn),
    Variant("hypercorn, HTTP/2", by_hypercorn, ask=Answer2.to, http_1=False),
]
