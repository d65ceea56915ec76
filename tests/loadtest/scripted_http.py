"""An HTTP server that is a script: each connection is answered as `answer` says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Answer = Callable[[str, str, asyncio.StreamWriter], Awaitable[None]]
"""Takes the request line, the body, and where to write."""


class ScriptedHttp:
    """`requests` are (moment by the monotonic clock, request line, body), in the order in which they came."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[tuple[float, str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                sizes = [line for line in head.splitlines() if line.lower().startswith("content-length:")]
                body = await reader.readexactly(int(sizes[0].split(":")[1]) if sizes else 0)
                line = head.splitlines()[0]
                self.requests.append((time.monotonic(), line, body.decode()))
                await self._answer(line, body.decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)


def plain(status: str, *headers: str, body: str = "{}") -> Answer:
    """Answer everything alike."""

    async def answer(line: str, content: str, writer: asyncio.StreamWriter) -> None:
        del line, content
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        await writer.drain()

    return answer


async def silence(line: str, content: str, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    del line, content, writer
    await asyncio.Event().wait()


async def hang_up(line: str, content: str, writer: asyncio.StreamWriter) -> None:
    """Close the connection instead of an answer."""
    del line, content
    writer.close()
    raise ConnectionResetError


async def stream(line: str, content: str, writer: asyncio.StreamWriter) -> None:
    """Answer with an event stream that never ends, the version 1 in it."""
    del line, content
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    event = b'event: environment_updated\ndata: {"updated_at": 1.0}\n\n'
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
    await writer.drain()
    await asyncio.Event().wait()
