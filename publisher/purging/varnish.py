"""A Varnish node: ``PURGE /`` with the surrogate key in a header, which its VCL turns into a ban.

Requests of one call are pipelined over one connection (RFC 9112, section 9.3.2): a general HTTP client takes
milliseconds for each, and a release that changes thousands of environments would wait for its purges.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from publisher.purging.edge import AwayError, PurgeError

__all__ = ["VarnishEdge"]

BATCH: Final = 64
LANES: Final = 4

IDLE: Final = 2.0
"""Seconds that a connection is kept for the next call: below Varnish's own ``timeout_idle`` of 5 s."""

LARGEST: Final = 65536
FORBIDDEN: Final = 403

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,9}) *\r\n", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection: *close *\r\n", re.IGNORECASE)
_BROKEN: Final = (asyncio.IncompleteReadError, ConnectionError)


class _Connection:
    """One connection; `fresh` until it has carried an answer, `usable` while another request may be sent on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.fresh = True
        self.usable = True
        self.used_at = 0.0
        self._reader = reader
        self._writer = writer

    def send(self, requests: bytes) -> None:
        self._writer.write(requests)

    async def status(self) -> int:
        """Read one answer; raises `PurgeError` and what `_BROKEN` lists."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None or (length and int(length[1]) > LARGEST):
            raise PurgeError("what it answers is not HTTP")
        self.usable = length is not None and not _CLOSE.search(head)
        if length:
            await self._reader.readexactly(int(length[1]))
        self.fresh = False
        return int(status[1])

    def close(self) -> None:
        self._writer.close()


class VarnishEdge:
    """The node at `url` (``http://HOST:PORT``)."""

    batch = BATCH
    lanes = LANES

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        written = f"[{self._host}]" if ":" in self._host else self._host
        self.name = f"varnish {written}:{self._port}"
        self._head = f"PURGE / HTTP/1.1\r\nHost: {written}\r\nUser-Agent: flagstream-publisher\r\nSurrogate-Key: "
        self._idle: list[_Connection] = []

    async def purge(self, names: Sequence[str]) -> None:
        """Ban what carries one of `names`; raises `PurgeError`, `AwayError` when nobody listens."""
        left = list(names)
        while left:
            connection = await self._connection()
            try:
                await self._send(connection, left)
            except _BROKEN as error:
                # It may have closed a connection that it thought idle, or may close after each answer.
                if connection.fresh:
                    raise PurgeError("the connection broke") from error
            except asyncio.LimitOverrunError as error:
                raise PurgeError("what it answers is not HTTP") from error
            finally:
                self._keep(connection, whole=not left)

    async def close(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # the turn in which the loop lets go of them

    async def _send(self, connection: _Connection, left: list[str]) -> None:
        """Send a request for each of `left` and take out those that are answered."""
        connection.send("".join(f"{self._head}{name}\r\n\r\n" for name in left).encode("ascii"))
        while left and connection.usable:
            status = await connection.status()
            if not 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, section 15
                hint = ", it does not let this address purge" if status == FORBIDDEN else ""
                connection.usable = False  # answers to the others are still on their way
                raise PurgeError(f"it answers {status}{hint}")
            left.pop(0)

    async def _connection(self) -> _Connection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.used_at < IDLE:
                return connection
            connection.close()
        try:
            return _Connection(*await asyncio.open_connection(self._host, self._port, ssl=self._tls))
        except OSError as error:  # TLS errors are OSErrors
            if _is_refused(error):
                raise AwayError("the connection is refused") from error
            raise PurgeError(f"it cannot be reached: {type(error).__name__}") from error

    def _keep(self, connection: _Connection, *, whole: bool) -> None:
        """Keep a connection on which every request is answered, close any other."""
        if whole and connection.usable:
            connection.used_at = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            with contextlib.suppress(RuntimeError):  # the loop itself is being closed
                connection.close()


def _is_refused(error: OSError) -> bool:
    """Tell whether every address refused; asyncio puts what several said into one text."""
    if isinstance(error, ConnectionRefusedError):
        return True
    text = str(error)
    return 0 < text.count("[Errno ") == text.count(f"[Errno {errno.ECONNREFUSED}]")
