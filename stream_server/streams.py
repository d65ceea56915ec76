"""Opens streams: handed off where our own server carries the connection, by plain ASGI anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from stream_server.frames import Frame, encode_opening
from stream_server.lifetimes import Headers, Life
from stream_server.portable import PortableStreams
from stream_server.stream import Course

__all__ = ["HAND_OFF", "HandOff", "HandedOff", "Streams"]

HAND_OFF: Final = "flagstream.hand_off"
"""ASGI extension: the connection of a request, where the server lets the application have it."""


class HandedOff(Protocol):
    """A stream on its way from HTTP to a connection of its own."""

    def subscribe(self) -> Frame | None:
        """Enter the hub; return the newest version for the first block."""

    def start_clock(self, seconds: float) -> None:
        """Let the lifetime begin."""

    def leave(self, reason: str) -> None:
        """Leave the hub: the hand-off did not come about."""


class HandOff(Protocol):
    """What `scope["extensions"][HAND_OFF]` offers: first an object for the stream, then the connection for it."""

    def prepare(self, course: Course, key: str, on_end: Callable[[], None] | None) -> HandedOff:
        """Return a stream that fits this connection; nothing has happened to the connection yet."""

    def hand_off(self) -> bool:
        """Give the connection, whose response has begun, to the prepared stream; False when the client has gone.

        The server takes the response for complete; the stream writes the rest of it and ends it.
        """


class Streams:
    """The streams of one process."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._portable = PortableStreams(course)

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        key: str,
        life: Life,
        headers: Headers,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Answer one GET with a stream of `key` that lives for `life`; `on_end` is called once when it has ended.

        Returns when it has been handed off, or, where that cannot be, when it has ended.
        """
        connection: HandOff | None = (scope.get("extensions") or {}).get(HAND_OFF)
        if connection is None:
            await self._portable.serve(scope, receive, send, key=key, life=life, headers=headers, on_end=on_end)
            return
        stream = connection.prepare(self._course, key, on_end)
        opening = encode_opening(stream.subscribe(), life.retry)
        handed_off = False
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            stream.start_clock(life.seconds)
            await send({"type": "http.response.body", "body": opening, "more_body": True})
            handed_off = connection.hand_off()
        finally:
            if not handed_off:
                stream.leave("client")
