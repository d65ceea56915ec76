"""An origin that writes down every request it sees, and a bare client to send an edge anything at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Answer", "RecordingOrigin", "Seen", "ask"]

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"Cache-Control: public, max-age=0, s-maxage=20\r\nSurrogate-Control: max-age=20\r\nX-Stream-Lifetime: 30\r\n"
    b"Surrogate-Key: stream-0123456789abcdef\r\nServer: origin\r\nVia: 1.1 origin\r\nX-Varnish: 1\r\n"
    b"Set-Cookie: a=b\r\nVary: Origin, Cookie\r\n\r\n"
)
EVENT = b'event: environment_updated\ndata: {"updated_at": 1735229888.7601228}\nretry: 2000\n\n'


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came, names of headers in lower case."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RecordingOrigin:
    """Holds streams open, and says to every other request what it was asked."""

    requests: list[Seen] = field(default_factory=list)
    port: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RecordingOrigin]:
        """Serve on a free port, and on the same one if it serves again."""
        self._held = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._held.set()
            for writer in list(self._open):
                writer.close()
            await server.wait_closed()
            async with asyncio.timeout(30):
                while self._open:
                    await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while not self._held.is_set():
                    await self._one(reader, writer)
        finally:
            writer.close()
            self._open.discard(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        method, url, _ = first.split(" ", 2)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        elif length := int(headers.get("content-length", "0")):
            body = await reader.readexactly(length)
        if not url.startswith("/health/"):
            self.requests.append(Seen(method, url, headers, body))
        if "/stream" in url:
            writer.write(STREAM + b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
            await self._held.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nServer: o\r\n\r\n{}")


@dataclass
class Answer:
    """The head of an answer, and its connection, which stays open."""

    status: int
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


async def ask(port: int, request: bytes, seconds: float = 30) -> Answer:
    """Send bytes; return the answer's head and what came with it, status 0 where the edge only closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(request)
    got = b""
    async with asyncio.timeout(seconds):
        with suppress(ConnectionError):
            while b"\r\n\r\n" not in got:
                part = await reader.read(65536)
                if not part:
                    break
                got += part
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = re.match(r"HTTP/1\.[01] (\d{3})", first)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(status[1]) if status else 0, headers, body, reader, writer)
