"""The harness's side of sse-contract-tests, over its own protocol: stream endpoints, numbered callbacks, commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

import httpx

PATIENCE: Final = 15.0
"""Seconds to wait for anything; the original gives 5."""


@dataclass
class Request:
    method: str
    headers: Mapping[str, str]
    body: bytes


class Answer:
    """The server's end of one request: whatever a script wants to send."""

    def __init__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer

    async def status(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer whole and close."""
        head = {"content-length": str(len(body)), "connection": "close", **(headers or {})}
        await self._raw(_head(status, head) + body)
        self._writer.close()

    async def start(self, content_type: str = "text/event-stream; charset=utf-8", status: int = 200) -> None:
        """Send the head of a stream."""
        await self._raw(
            _head(status, {"content-type": content_type, "transfer-encoding": "chunked", "connection": "close"})
        )

    async def send(self, *chunks: bytes) -> None:
        """Send chunks, each in a write of its own; a pause so small that the two ends take turns is between them."""
        for chunk in chunks:
            await self._raw(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await asyncio.sleep(0)

    async def end(self) -> None:
        """End the stream cleanly."""
        await self._raw(b"0\r\n\r\n")
        self._writer.close()

    async def cut(self) -> None:
        """Break the connection off."""
        self._writer.transport.abort()

    async def _raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


Script = Callable[[Answer], Awaitable[None]]


@dataclass
class StreamEndpoint:
    """A URL that answers as its script says, with a stream by default; `answers` queues what was asked."""

    url: str
    script: Script = Answer.start
    answers: asyncio.Queue[Answer] = field(default_factory=asyncio.Queue)

    async def connection(self) -> Answer:
        """Wait for the next request."""
        async with asyncio.timeout(PATIENCE):
            return await self.answers.get()


class Client:
    """One client of the test service, known by its `resource`; what it reports comes in the order of its numbers."""

    def __init__(self) -> None:
        self.resource = ""
        self._ahead: dict[int, dict[str, Any]] = {}
        self._next = 1
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def accept(self, number: int, message: dict[str, Any]) -> None:
        self._ahead[number] = message
        while self._next in self._ahead:
            self._messages.put_nowait(self._ahead.pop(self._next))
            self._next += 1

    async def message(self, *, but: str = "") -> dict[str, Any]:
        """Return the next message that is not of the kind `but`."""
        async with asyncio.timeout(PATIENCE):
            while (message := await self._messages.get())["kind"] == but:
                pass
        return message

    async def event(self) -> dict[str, str]:
        """Return the next message, which has to be an event."""
        message = await self.message()
        assert message["kind"] == "event", message
        event: dict[str, str] = message["event"]
        return event

    async def event_after_an_error_or_none(self) -> dict[str, str]:
        """Return the next event; a client may tell of the broken stream before it."""
        message = await self.message(but="error")
        assert message["kind"] == "event", message
        event: dict[str, str] = message["event"]
        return event

    async def error(self) -> str:
        """Return the next message, which has to be an error."""
        message = await self.message()
        assert message["kind"] == "error", message
        return str(message["error"])


class Harness:
    """Serves endpoints, and drives the test service at `service`; clients are closed at the end."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._http = httpx.AsyncClient(verify=False, trust_env=False, timeout=PATIENCE)  # noqa: S501 - loopback, no TLS
        self._endpoints: dict[str, StreamEndpoint | Client] = {}
        self._numbers = count(1)
        self._clients: list[Client] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for client in self._clients:
            answer = await self._http.delete(client.resource)
            assert answer.status_code in (200, 204)
        await self._http.aclose()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while self._writers:
                await asyncio.sleep(0.001)

    def endpoint(self, script: Script = Answer.start) -> StreamEndpoint:
        """Return a new URL of ours."""
        number = str(next(self._numbers))
        endpoint = self._endpoints[number] = StreamEndpoint(f"{self._base}/endpoints/{number}", script)
        return endpoint

    async def client(self, endpoint: StreamEndpoint, **params: Any) -> Client:
        """Let the service follow an endpoint; `params` are those of its "create stream"."""
        client = Client()
        number = str(next(self._numbers))
        self._endpoints[number] = client
        document = {"streamUrl": endpoint.url, "callbackUrl": f"{self._base}/endpoints/{number}", **params}
        answer = await self._http.post(self.service, json=document)
        assert 200 <= answer.status_code < 300, answer.text
        resource = answer.headers["location"]
        client.resource = resource if resource.startswith("http:") else self.service + resource
        self._clients.append(client)
        return client

    async def command(self, client: Client, **command: Any) -> None:
        answer = await self._http.post(client.resource, json=command)
        assert 200 <= answer.status_code < 300, answer.text

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            path, request = await _read_request(reader)
            await self._answer(path, Answer(request, writer))
            await reader.read()  # the client goes, or the script has closed
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, path: str, answer: Answer) -> None:
        number, _, rest = path.removeprefix("/endpoints/").partition("/")
        match self._endpoints.get(number):
            case StreamEndpoint() as endpoint:
                await endpoint.script(answer)
                endpoint.answers.put_nowait(answer)
            case Client() as client if rest.isdigit():
                client.accept(int(rest), json.loads(answer.request.body))
                await answer.status(202)
            case _:
                await answer.status(404)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, Request]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return path, Request(method, headers, body)
