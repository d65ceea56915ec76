"""The stream path: which requests open a stream, and the headers that go out before the first event.

Published SDKs hammer whoever answers this path quickly with an error or an empty body, up to a thousand times a
second each. So every key gets a 200 and a stream, idle if nothing is known of it (setting ``unknown_keys``), and
whoever there is no room for gets a short one without events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from publisher.messages import is_key, surrogate_key
from stream_server import cors
from stream_server.admission import NO_KEY, Admission
from stream_server.lifetimes import Headers, Life

__all__ = ["StreamRoute"]

PATH: Final = re.compile(r"//?sse/(?:environments/)?(.*)/stream/?", re.DOTALL)
"""The path and the aliases met in the wild: a doubled first slash, no ``environments``, a trailing slash."""


NAMES: Final = 16384
"""Names that need not be made again; about 5 MiB."""


class Lives(Protocol):
    """Gives every stream its life."""

    def new(self) -> Life:
        """Return the life of a stream that opens now."""

    def overload(self) -> Life:
        """Return the life of one that is opened in place of one that there is no room for."""


class Opening(Protocol):
    """Opens streams."""

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
        """Answer one GET with `headers` and a stream of `key` that lives for `life`."""


class StreamRoute(BaseRoute):
    """Serves ``/sse/environments/{key}/stream`` and its aliases.

    `is_unknown` tells which keys get a 404, None for none; `named` is whether an edge may purge streams by name.
    """

    def __init__(
        self,
        *,
        streams: Opening,
        lifetimes: Lives,
        admission: Admission,
        is_unknown: Callable[[str], bool] | None,
        named: bool,
    ) -> None:
        self._streams = streams
        self._lifetimes = lifetimes
        self._admission = admission
        self._is_unknown = is_unknown
        self._named = named

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path alone: queries are ignored, other methods are answered here."""
        if scope["type"] != "http":
            return Match.NONE, {}
        found = PATH.fullmatch(scope["path"])
        if found is None:
            return Match.NONE, {}
        key = found[1]
        return Match.FULL, {"path_params": {"key": key if is_key(key) else NO_KEY}}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        """Refuse: nothing here links to a stream by name (Starlette calls this)."""
        raise NoMatchFound(name, dict(path_params))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = scope["method"]
        key = scope["path_params"]["key"]
        if method == "OPTIONS":
            await _answer(send, 200, cors.PREFLIGHT)
        elif method not in {"GET", "HEAD"}:
            await _answer_json(send, 405, f"Method {method} not allowed", [(b"allow", cors.METHODS.encode())])
        elif self._is_unknown is not None and self._is_unknown(key):
            await _answer_json(send, 404, "Unknown environment key", [(b"cache-control", b"public, max-age=10")])
        elif method == "HEAD":
            refused = self._admission.refusal(key, scope)
            life = self._lifetimes.overload() if refused else self._lifetimes.new()
            await _answer(send, 200, self._headers(life, key))
        else:
            place = self._admission.admit(key, scope)
            life = self._lifetimes.overload() if place.refused else self._lifetimes.new()
            await self._streams.serve(
                scope,
                receive,
                send,
                key=NO_KEY if place.refused else key,
                life=life,
                headers=self._headers(life, key),
                on_end=place.leave,
            )

    def _headers(self, life: Life, key: str) -> Headers:
        """Return the headers of a stream at the path of `key`; they are shared, so nobody may change them."""
        return [*life.headers, _name(key)] if self._named and key else life.headers


@lru_cache(NAMES)
def _name(key: str) -> tuple[bytes, bytes]:
    """Return the header by which an edge purges the streams of `key`."""
    return b"surrogate-key", surrogate_key("stream", key).encode()


async def _answer_json(send: Send, status: int, detail: str, headers: Headers) -> None:
    body = json.dumps({"detail": detail}).encode()
    length = (b"content-length", str(len(body)).encode())
    await _answer(send, status, [(b"content-type", b"application/json"), length, *headers, *cors.ALLOWED], body)


async def _answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
