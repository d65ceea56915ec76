"""Announces changes to a publisher by its queue-change call, with little of its own between the moment and the wire.

A general HTTP client spends a millisecond on each request, which would be in every figure of how long a change took.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import httptools

from loadtest.targets import Url

__all__ = ["AnnounceError", "Announcer"]

IDLE: Final = 2.0
"""Seconds after which a connection is not used again: a server may be about to close it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SUCCESS: Final = range(200, 300)


class AnnounceError(Exception):
    """A change was not accepted; the message is its kind, in a few words."""


class Announcer:
    """Posts versions; as many at once as there are to post, each on a connection of its own."""

    def __init__(self, url: str, token: str, timeout: float = 10.0) -> None:
        self._url = Url.read(url)
        self._timeout = timeout
        self._tls = ssl.create_default_context() if self._url.tls else None
        self._idle: deque[tuple[float, _Connection]] = deque()
        self._head = (
            f"Host: {self._url.authority}\r\nAuthorization: Token {token}\r\n"
            "User-Agent: flagstream-loadtest\r\nContent-Type: application/json\r\n"
        )

    async def announce(self, key: str, version: int) -> None:
        """Post one version; raises `AnnounceError` where it is not answered 2xx."""
        moment = _EPOCH + timedelta(microseconds=version)
        status = await self.post(key, f'{{"updated_at": "{moment.isoformat()}"}}')
        if status not in SUCCESS:
            raise AnnounceError(f"status {status}")

    async def post(self, key: str, body: str) -> int:
        """Post a body to an environment's queue-change and return the status; raises `AnnounceError` without one."""
        request = (
            f"POST {self._url.prefix}/sse/environments/{key}/queue-change HTTP/1.1\r\n"
            f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode("latin-1", errors="replace")
        try:
            async with asyncio.timeout(self._timeout):
                connection = self._kept() or await self._connected()
                try:
                    status = await connection.ask(request)
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError:
            raise AnnounceError("no answer in time") from None
        except ConnectionRefusedError:
            raise AnnounceError("connection refused") from None
        except ConnectionError:
            raise AnnounceError("connection broken") from None
        except ssl.SSLError as error:
            raise AnnounceError(f"TLS: {error.reason or error}") from None
        except OSError as error:
            raise AnnounceError(error.strerror or str(error)) from None
        except httptools.HttpParserError:
            raise AnnounceError("an answer that is not HTTP") from None
        if connection.reusable:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()
        return status

    def _kept(self) -> _Connection | None:
        """Return the connection that was used last, without those that waited too long."""
        while self._idle and (self._idle[0][0] < time.monotonic() - IDLE or self._idle[0][1].lost):
            self._idle.popleft()[1].close()
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.lost:
                return connection
        return None

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._url.host, self._url.port, ssl=self._tls)
        return connection

    async def close(self) -> None:
        """Close what is open."""
        while self._idle:
            self._idle.pop()[1].close()
        await asyncio.sleep(0)


@dataclass(slots=True, eq=False)
class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    lost: bool = False
    reusable: bool = False
    _transport: asyncio.Transport | None = None
    _parser: httptools.HttpResponseParser | None = None
    _answer: asyncio.Future[int] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request and return the status of its answer."""
        if self._transport is None or self.lost:
            raise ConnectionResetError
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close it, if it is not."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            if self._parser is not None:
                self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError())

    def on_message_complete(self) -> None:
        """End the wait: the whole answer is there (called by the parser)."""
        if self._answer is not None and not self._answer.done() and self._parser is not None:
            self.reusable = self._parser.should_keep_alive()
            self._answer.set_result(self._parser.get_status_code())

    def _fail(self, error: Exception) -> None:
        if self._answer is not None:
            with contextlib.suppress(asyncio.InvalidStateError):
                self._answer.set_exception(error)
