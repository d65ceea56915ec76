"""One request to the fault script's server, and the ways to answer it."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Final, Self

__all__ = ["Peer"]

CORS: Final = (
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Expose-Headers: *\r\n"
    "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
    "Access-Control-Allow-Headers: X-Environment-Key, Content-Type, If-None-Match, Flagsmith-SDK-User-Agent,"
    " Flagsmith-Application-Version\r\n"
    "Access-Control-Max-Age: 600\r\n"
)


@dataclass(eq=False, slots=True)
class Peer:
    """One request, and the connection to write its answer to."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    mute: bool = False
    """A stream that is told nothing more, as one whose network has gone."""

    def answer(self, status: int, body: bytes = b"", content_type: str = "application/json", more: str = "") -> None:
        """Write a whole answer; the connection stays open."""
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        head = f"HTTP/1.1 {status} Answer\r\nContent-Type: {content_type}\r\n{length}{CORS}{more}\r\n"
        self.writer.write(head.encode() + body)

    def begin_stream(self, *, lifetime: float = 3600.0, join_window: float = 1800.0) -> None:
        """Write the head of an event stream that announces its `lifetime`."""
        self.writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{CORS}"
            f"X-Stream-Lifetime: {lifetime:g}\r\nX-Stream-Join-Window: {join_window:g}\r\n\r\n".encode()
        )

    def send(self, text: str) -> None:
        """Write a piece of the stream."""
        data = text.encode()
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """End the stream cleanly and close its connection."""
        self.writer.write(b"0\r\n\r\n")
        self.writer.close()

    def cut(self) -> None:
        """Reset the connection."""
        sock: socket.socket | None = self.writer.get_extra_info("socket")
        if sock is not None and not self.writer.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    @classmethod
    async def read(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Self:
        """Read the next request of a connection; raises OSError and IncompleteReadError when it has gone."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return cls(method, target, headers, body, reader, writer)
