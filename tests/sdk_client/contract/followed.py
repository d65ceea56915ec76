"""One stream of the test service: our connection and its shell follow it, and every item goes back to the harness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final

import httpx

from sdk_client.connection import Action, Close, Connection, Ended, Live, Received
from sdk_client.decoder import Comment, Decoder, Event
from sdk_client.reconnect import Backoff
from sdk_client.streaming import Driver
from tests.sdk_client.contract.params import StreamParams

LIMIT: Final = 1 << 28
"""Bytes of a line and of an event: the harness sends up to 128 MiB, our own default of 64 KiB would end the stream."""

LEAST_DELAY: Final = 0.01
"""Seconds: the harness asks for no delay at all, and refuses a client at once when a test is over."""

# The standard's request says so, and a mandatory case checks it. Our client does not by itself: at some edges it is a
# way round the cache, and every client would be a stream of its own (docs/client-rules.md, 1).
STANDARD_HEADERS: Final = {"Cache-Control": "no-cache"}


class _OtherMethod(httpx.AsyncBaseTransport):
    """Sends every request with another method and a body; the shell itself only ever asks by GET."""

    def __init__(self, method: str, body: str) -> None:
        self._method = method
        self._body = body.encode()
        self._transport = httpx.AsyncHTTPTransport(verify=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/plain; charset=utf-8", **request.headers}
        changed = httpx.Request(
            self._method, request.url, headers=headers, content=self._body, extensions=request.extensions
        )
        return await self._transport.handle_async_request(changed)

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def _http_for(params: StreamParams, shared: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    if params.method == "GET" and not params.body:
        yield shared
        return
    transport = _OtherMethod(params.method, params.body)
    async with httpx.AsyncClient(transport=transport, max_redirects=shared.max_redirects, trust_env=False) as http:
        yield http


class Followed:
    """Follows one stream until it is cancelled; `http` is for the stream and for the callbacks alike."""

    def __init__(self, params: StreamParams, http: httpx.AsyncClient) -> None:
        delay = params.initial_delay
        backoff = None if delay is None else Backoff(base=delay, cap=delay, least=max(LEAST_DELAY, delay))
        heartbeat = 15.0 if params.read_timeout is None else params.read_timeout / 3
        self._params = params
        self._http = http
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._connection = Connection(
            random=Random(),
            heartbeat=heartbeat,
            backoff=backoff,
            decoder=partial(Decoder, max_line=LIMIT, max_event=LIMIT),
            last_event_id=params.last_event_id,
        )
        self._driver: Driver[Action] | None = None
        self._live = 0

    async def run(self) -> None:
        """Follow the stream; ends only by cancellation, or by a fault, which is reported as an error first."""
        async with _http_for(self._params, self._http) as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            headers = {**STANDARD_HEADERS, **self._params.headers}
            url = self._params.stream_url
            self._driver = Driver(http, self._connection, self._on_action, tasks, url=url, headers=headers)
            self._driver.do(self._connection.start(asyncio.get_running_loop().time()))
            await self._driver.run()

    def restart(self) -> None:
        """Leave the stream and open it again, as if the server had dropped it."""
        if self._driver is not None and self._live:
            stream, self._live = self._live, 0
            actions = self._connection.failed(stream, "restarted", asyncio.get_running_loop().time())
            self._driver.do([Close(stream), *(action for action in actions if not isinstance(action, Ended))])

    def _on_action(self, action: Action) -> None:
        match action:
            case Live(stream):
                self._live = stream
            case Received(_, Event(kind, data, last_id)):
                self._messages.put_nowait({"kind": "event", "event": {"type": kind, "data": data, "id": last_id}})
            case Received(_, Comment(text)):
                self._messages.put_nowait({"kind": "comment", "comment": text})
            case Ended(_, end) if end.is_error:
                self._messages.put_nowait({"kind": "error", "error": end.reason, "comment": end.reason})

    async def _tell(self) -> None:
        """Send the messages one after the other, numbered from 1: a harness sorts them, but ours are in order."""
        number = 0
        while True:
            message = await self._messages.get()
            number += 1
            await self._http.post(f"{self._params.callback_url}/{number}", json=message, timeout=60.0)
