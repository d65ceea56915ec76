"""``/health`` and ``/metrics`` of a program beside the edge, on a small port of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

__all__ = ["Health"]

TIMEOUT: Final = 5.0
LARGEST_HEAD: Final = 16384
UNAVAILABLE: Final = "503 Service Unavailable"


class Health:
    """Answers one request a connection; `faults` names what is wrong, nothing being well."""

    def __init__(self, faults: Callable[[], Mapping[str, str]], registry: CollectorRegistry) -> None:
        self._faults = faults
        self._registry = registry

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Begin to listen; the caller closes it. Raises OSError when the port is taken."""
        return await asyncio.start_server(self._serve, host, port, limit=LARGEST_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whatever a peer sends or does, it ends no more than its own connection.
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0].decode("latin-1")))
                await writer.drain()
        writer.close()

    def _answer(self, request_line: str) -> bytes:
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in {"GET", "HEAD"}:
            return _response("405 Method Not Allowed", "application/json", b'{"detail": "Method not allowed"}', method)
        if path == "/metrics":
            text = generate_latest(self._registry)
            return _response("200 OK", "text/plain; version=0.0.4; charset=utf-8", text, method)
        if path == "/health":
            faults = self._faults()
            body = msgspec.json.encode({"status": "faults" if faults else "ok", "faults": faults})
            return _response(UNAVAILABLE if faults else "200 OK", "application/json", body, method)
        return _response("404 Not Found", "application/json", b'{"detail": "Not found"}', method)


def _response(status: str, kind: str, body: bytes, method: str) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == "HEAD" else body)
