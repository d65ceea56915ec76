"""The stream path: which requests open a stream, and the headers that go out before the first event.

Published SDKs hammer whoever answers this path quickly with an error or an empty body, up to a thousand times a
second each. So every key gets a 200 and a stream, idle if nothing is known of it (setting ``unknown_keys``).
"""

from __future__ import annotations

import json
import re
from typing import Final

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from publisher.messages import is_key
from stream_server import cors
from stream_server.feed import Feed
from stream_server.hub import Hub
from stream_server.lifetimes import Life, Lifetimes
from stream_server.portable import PortableStreams

__all__ = ["StreamRoute"]

PATH: Final = re.compile(r"//?sse/(?:environments/)?(.*)/stream/?", re.DOTALL)
"""The path and the aliases met in the wild: a doubled first slash, no ``environments``, a trailing slash."""

NO_KEY: Final = ""
"""Stands for every key that cannot exist: those streams idle together and cost no table an entry of their own."""

Headers = list[tuple[bytes, bytes]]


class StreamRoute(BaseRoute):
    """Serves ``/sse/environments/{key}/stream`` and its aliases."""

    def __init__(
        self, *, streams: PortableStreams, hub: Hub, feed: Feed, lifetimes: Lifetimes, reject_unknown: bool
    ) -> None:
        self._streams = streams
        self._hub = hub
        self._feed = feed
        self._lifetimes = lifetimes
        self._reject_unknown = reject_unknown

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path alone: queries are ignored, other methods are answered here."""
        if scope["type"] != "http":
            return Match.NONE, {}
        found = PATH.fullmatch(scope["path"])
        if found is None:
            return Match.NONE, {}
        return Match.FULL, {"path_params": {"key": found[1]}}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """Refuse: nothing here links to a stream by name (Starlette calls this)."""
        raise NoMatchFound(name, dict(path_params))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = scope["method"]
        key = scope["path_params"]["key"] if is_key(scope["path_params"]["key"]) else NO_KEY
        if method == "OPTIONS":
            await _answer(send, 200, cors.PREFLIGHT)
        elif method not in {"GET", "HEAD"}:
            await _answer_json(send, 405, f"Method {method} not allowed", [(b"allow", cors.METHODS.encode())])
        elif self._reject_unknown and self._is_unknown(key):
            await _answer_json(send, 404, "Unknown environment key", [(b"cache-control", b"public, max-age=10")])
        elif method == "HEAD":
            await _answer(send, 200, _stream_headers(self._lifetimes.new()))
        else:
            life = self._lifetimes.new()
            await self._streams.serve(scope, receive, send, key=key, life=life, headers=_stream_headers(life))

    def _is_unknown(self, key: str) -> bool:
        # Before the first reading nothing is known, and a 404 then would end published SDKs for good.
        return self._feed.ready and not self._hub.knows(key)


def _stream_headers(life: Life) -> Headers:
    return [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"public, max-age=0, s-maxage=%d" % life.join_window),
        (b"surrogate-control", b"max-age=%d" % life.join_window),
        (b"x-stream-lifetime", f"{life.seconds:.2f}".rstrip("0").rstrip(".").encode()),
        *cors.ALLOWED,
    ]


async def _answer_json(send: Send, status: int, detail: str, headers: Headers) -> None:
    body = json.dumps({"detail": detail}).encode()
    length = (b"content-length", str(len(body)).encode())
    await _answer(send, status, [(b"content-type", b"application/json"), length, *headers, *cors.ALLOWED], body)


async def _answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
