"""One stream over any ASGI server, by sse-starlette's `EventSourceResponse`.

What is kept for a slow client is one frame, the newest: the server's own write buffer is full or it is not, and what
comes meanwhile replaces what has not been written. A client that never reads is cut when the server lets go of a write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from sse_starlette.sse import AppStatus, EventSourceResponse
from starlette.types import Receive, Scope, Send

from stream_server.frames import HEARTBEAT, Frame, encode_opening
from stream_server.lifetimes import Headers, Life
from stream_server.stream import STUCK, Course

__all__ = ["PortableStreams"]

# Our own drain decides when streams end; sse-starlette would end all of them with the first signal.
AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call] # untyped there


class CutError(ConnectionError):
    """Ends a response without its final chunk: a server drops the connection of a response that fails."""


class _Stream:
    """A subscriber of the hub and a member of the wheel, read by one response."""

    __slots__ = (
        "__weakref__",
        "_beat",
        "_course",
        "_ended",
        "_ends_at",
        "_frame",
        "_key",
        "_severed",
        "_version",
        "_waiter",
        "reason",
        "tick",
    )

    def __init__(self, course: Course, key: str) -> None:
        self._course = course
        self._key = key
        self._version = 0
        self._ends_at = 0.0
        self._frame: Frame | None = None
        self._beat = False
        self._ended = False
        self._severed = False
        self._waiter: asyncio.Future[None] | None = None
        self.reason = "client"
        self.tick = 0

    def offer(self, frame: Frame) -> None:
        """Keep `frame` until the client takes it, in place of an older one."""
        if frame.version <= self._version:
            return
        if self._frame is not None:
            self._course.metrics.conflated.inc()
        self._frame = frame
        self._version = frame.version
        self._wake()

    def end(self, *, clean: bool) -> None:
        """End now: after what is unsent when `clean`, else by cutting the connection."""
        self.reason = "drain"
        if not clean:
            self._cut()
        self._ended = True
        self._wake()

    def due(self, now: float) -> float | None:
        """Send a heartbeat, end at the end of the lifetime, cut when the client has not read for too long then."""
        if now >= self._ends_at + STUCK:
            self.reason = "stuck"
            self._cut()
            return None
        if now >= self._ends_at:
            self.reason = "lifetime"
            self._ended = True
            self._wake()
            return self._ends_at + STUCK
        self.beat()
        return min(now + self._course.heartbeat, self._ends_at)

    def beat(self) -> None:
        """Send a heartbeat as soon as the client takes it."""
        self._beat = True
        self._wake()

    async def blocks(self, newest: Frame | None, life: Life) -> AsyncIterator[bytes]:
        """Yield the blocks of the stream, each one write, from the header write on."""
        began = time.monotonic()
        self._ends_at = began + life.seconds
        self._course.wheel.add(self, min(began + self._course.heartbeat, self._ends_at))
        if newest is not None:
            self._version = max(self._version, newest.version)
        yield encode_opening(newest, life.retry)
        while True:
            frame, self._frame = self._frame, None
            if self._severed:
                raise CutError("the stream is ended without its final chunk")
            if frame is not None and self._course.hub.withholds(self._key):
                self._version = frame.version - 1
            elif frame is not None:
                self._beat = False
                yield frame.block
            elif self._ended:
                return
            elif self._beat:
                self._beat = False
                yield HEARTBEAT
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _cut(self) -> None:
        self._severed = True
        self._wake()


class PortableStreams:
    """Opens streams over plain ASGI messages."""

    def __init__(self, course: Course) -> None:
        self._course = course

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        key: str,
        life: Life,
        headers: Headers,
        on_end: Callable[[], None] | None,
    ) -> None:
        """Answer one GET with a stream of `key` that lives for `life`; returns when it has ended."""
        course = self._course
        stream = _Stream(course, key)
        newest = course.hub.subscribe(key, stream)
        response = EventSourceResponse(stream.blocks(newest, life), ping=0, sep="\n")
        response.raw_headers = headers  # these and no others: bytes are the same on every path
        try:
            await response(scope, receive, send)
        finally:
            course.hub.unsubscribe(key, stream)
            course.wheel.discard(stream)
            course.metrics.streams_ended.labels(stream.reason).inc()
            if on_end is not None:
                on_end()
