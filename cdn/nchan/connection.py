"""One kept-alive HTTP/1.1 connection to nginx, for small requests one after the other."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

__all__ = ["Address", "Answer", "AwayError", "Connection"]

TIMEOUT: Final = 5.0
"""Seconds that an nginx has for an answer, and to accept a connection."""

LARGEST_BODY: Final = 65536


class AwayError(Exception):
    """An nginx that cannot be reached, or answers what no nginx does; whether it did as asked is not known."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the feeder's own `server` of an nginx listens; `host` is also its name in logs and figures."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Address:
        """Read ``http://HOST:PORT``; raises ValueError on anything else."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in {"", "/"} or parts.query:
            raise ValueError(f"{url!r} is not http://HOST:PORT")
        return cls(parts.hostname, parts.port or 80)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of one answer."""

    status: int
    body: bytes


class Connection:
    """Opened by ``async with``; every failure is an `AwayError`, after which it is of no more use."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._host = str(address).encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(TIMEOUT):
                self._streams = await asyncio.open_connection(self._address.host, self._address.port)
        except (OSError, TimeoutError) as error:
            raise AwayError(str(error) or type(error).__name__) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()

    async def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Send one request and return its answer."""
        if self._streams is None:
            raise AwayError("not connected")
        reader, writer = self._streams
        head = b"%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n"
        try:
            writer.write(head % (method.encode(), path.encode(), self._host, len(body)) + body)
            async with asyncio.timeout(TIMEOUT):
                return await _answer(reader)
        except (OSError, EOFError, TimeoutError, ValueError, RuntimeError, asyncio.LimitOverrunError) as error:
            # RuntimeError: a write to what the other end has reset meanwhile, with uvloop
            raise AwayError(str(error) or type(error).__name__) from None


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if not lines[0].startswith(b"HTTP/1.1 "):
        raise ValueError("not an answer of HTTP/1.1")
    length = 0
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if not 0 <= length <= LARGEST_BODY:
        raise ValueError("an answer that is too long")
    return Answer(int(lines[0][9:12]), await reader.readexactly(length))
