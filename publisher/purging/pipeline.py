"""A connection to an edge that carries many small requests at once (pipelining: RFC 9112, section 9.3.2).

Written here because no HTTP client of ours pipelines: h11 and with it httpx have each request wait for the answer to
the one before. A request through httpx also costs more than a millisecond of the loop, of which each change takes two
and more an edge (220 to 800 a second were measured), so a release that changes thousands of environments would hold up
its own announcements for many seconds; pipelined, 3,000 environments were purged and announced in 1.5 s. Only the
sending is ours: answers are read by httptools, the parser of the HTTP server that we run on.

It is a protocol and no pair of streams, because a transport tells a protocol of its end at once, also while nobody
reads: uvloop raises `RuntimeError` on what is written to a transport that a reset has closed.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import httptools

from publisher.purging.edge import PurgeError

__all__ = ["Pipeline"]

LARGEST: Final = 65536
"""Bytes of one answer, which is not kept but has to be read."""

OK: Final = range(200, 300)
FORBIDDEN: Final = 403


class Pipeline(asyncio.Protocol):
    """One connection; `is_open` tells whether it may be asked, `used_at` belongs to whoever keeps it."""

    def __init__(self) -> None:
        self.is_open = False
        self.used_at = 0.0
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._asked = self._answered = self._room = 0
        self._outcome: asyncio.Future[int] | None = None

    async def ask(self, requests: bytes, number: int) -> int:
        """Send so many requests; return how many were granted before the connection ended, as it may at any time.

        Raises `PurgeError` when one is refused, or answered by what is not HTTP; then the connection is closed.
        """
        self._asked, self._answered, self._room = number, 0, number * LARGEST
        self._outcome = asyncio.get_running_loop().create_future()
        try:
            self._write(requests)
            return await self._outcome
        except BaseException:
            self.close()  # cancelled, perhaps: answers on their way would pass for those to come
            raise
        finally:
            self._outcome = None

    def close(self) -> None:
        """End the connection at once; an edge that reads nothing more would keep what is unsent for ever."""
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection (asyncio calls this)."""
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        """Give back what was granted (asyncio calls this), whatever the reason: no route, TLS, a reset, an end."""
        del error
        self._end()

    def data_received(self, data: bytes) -> None:
        """Read answers (asyncio calls this)."""
        self._room -= len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("what it answers is not HTTP")
        if self._room < 0:
            self._fail("what it answers is not HTTP")

    def on_headers_complete(self) -> None:
        """Count an answer (the parser calls this)."""
        status = self._parser.get_status_code()
        if status < OK.start:
            return  # an interim one, RFC 9110, section 15.2
        if self._outcome is None or self._outcome.done():
            self._end()  # nobody asked; what is read later would pass for an answer to the next request
        elif status not in OK:
            self._fail(f"it answers {status}{', it does not let this address purge' if status == FORBIDDEN else ''}")
        else:
            self._answered += 1
            if not self._parser.should_keep_alive():
                self._end()

    def on_message_complete(self) -> None:
        """Finish when all is answered (the parser calls this)."""
        if self._answered == self._asked:
            self._settle()

    def _write(self, requests: bytes) -> None:
        if self._transport.is_closing():
            self._end()
            return
        try:
            self._transport.write(requests)
        except (OSError, RuntimeError):  # uvloop, on a transport whose end it has not told yet
            self._end()

    def _settle(self) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(self._answered)

    def _end(self) -> None:
        self._settle()
        self.close()

    def _fail(self, reason: str) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_exception(PurgeError(reason))
        self.close()
