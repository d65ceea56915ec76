"""A Varnish node: ``PURGE /`` with the surrogate key in a header, which its VCL turns into a ban."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from publisher.purging.edge import AwayError, PurgeError
from publisher.purging.pipeline import Pipeline

__all__ = ["VarnishEdge"]

BATCH: Final = 64
LANES: Final = 4

IDLE: Final = 2.0
"""Seconds that a connection is kept for the next call: below Varnish's own ``timeout_idle`` of 5 s."""


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
        self._idle: list[Pipeline] = []

    async def purge(self, names: Sequence[str]) -> None:
        """Ban what carries one of `names`; raises `PurgeError`, `AwayError` when nobody listens."""
        left = list(names)
        while left:
            kept = self._kept()
            connection = kept or await self._connect()
            requests = "".join(f"{self._head}{name}\r\n\r\n" for name in left).encode("ascii")
            granted = await connection.ask(requests, len(left))
            del left[:granted]
            # It may have closed a connection that it thought idle, or may close after each answer.
            if not granted and not kept:
                raise PurgeError("the connection broke")
        if connection.is_open:
            connection.used_at = asyncio.get_running_loop().time()
            self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # the turn in which the loop lets go of them

    def _kept(self) -> Pipeline | None:
        """Return a connection that was used a moment ago, and let go of those that are of no more use."""
        long_ago = asyncio.get_running_loop().time() - IDLE
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.used_at > long_ago:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Pipeline:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                Pipeline, self._host, self._port, ssl=self._tls
            )
        except (OSError, RuntimeError, UnicodeError) as error:  # TLS; a transport closed meanwhile; no name of a host
            if isinstance(error, OSError) and _is_refused(error):
                raise AwayError("the connection is refused") from error
            raise PurgeError(f"it cannot be reached: {type(error).__name__}") from error
        return connection


def _is_refused(error: OSError) -> bool:
    """Tell whether every address refused; asyncio puts what several said into one text."""
    if isinstance(error, ConnectionRefusedError):
        return True
    text = str(error)
    return 0 < text.count("[Errno ") == text.count(f"[Errno {errno.ECONNREFUSED}]")
