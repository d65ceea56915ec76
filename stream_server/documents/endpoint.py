"""Bare ASGI endpoints of the document paths: a hit in memory costs one look-up, two messages and no objects of ours."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from stream_server.documents.analytics import LARGEST_COUNT
from stream_server.documents.answers import (
    NOBODY,
    PREFLIGHT,
    SHARED_FOR_A_SECOND,
    Failure,
    Headers,
    Problem,
    Rendered,
    named,
    send_json,
    send_rendered,
)
from stream_server.documents.cache import Cache
from stream_server.documents.counts import Counts
from stream_server.documents.document import DocumentKey, is_environment_key
from stream_server.documents.identities import Identities
from stream_server.documents.request import header, json_object, read_body, read_environment_key, read_query

__all__ = ["AnalyticsEndpoint", "DocumentEndpoint", "Endpoint", "IdentitiesEndpoint"]

Collect = Callable[[str, dict[str, int]], None]


class Endpoint:
    """What the document paths share: preflight, methods, errors as JSON that any page may read."""

    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")

    def __init__(self, path: str, counts: Counts) -> None:
        self.path = path
        self._refused = counts.requests.labels(path, "refused")
        self._errors = counts.requests.labels(path, "error")
        self._allow = [(b"allow", ", ".join(self.methods).encode())]
        self._preflight = [*PREFLIGHT, (b"access-control-allow-methods", ", ".join(self.methods).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an ASGI application."""
        method = scope["method"]
        if method == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": self._preflight})
            await send({"type": "http.response.body", "body": b""})
            return
        if method not in self.methods:
            detail = f"This path takes {', '.join(self.methods)}."
            await self._send(send, scope, Problem(405, detail, headers=self._allow))
            return
        try:
            await self.answer(scope, receive, send)
        except Problem as problem:
            await self._send(send, scope, problem)

    async def _send(self, send: Send, scope: Scope, problem: Problem) -> None:
        (self._errors if isinstance(problem, Failure) else self._refused).inc()
        may_be_shared = b"v=" in scope["query_string"] and scope["method"] != "POST" and self.path != "identities"
        cache = SHARED_FOR_A_SECOND if may_be_shared else NOBODY
        headers = [*problem.headers, *self.names(scope)]
        await send_json(send, problem.status, problem.body, headers, cache=cache)

    def names(self, scope: Scope) -> Headers:
        """Return the header by which an edge purges an error, if it has one."""
        del scope
        return []

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a `Problem` that is raised becomes its answer."""
        raise NotImplementedError


class DocumentEndpoint(Endpoint):
    """``GET /api/v1/flags/`` and ``/environment-document/``; `named` is whether an edge may purge answers by name."""

    def __init__(self, path: str, cache: Cache, counts: Counts, *, named: bool) -> None:
        super().__init__(path, counts)
        self._cache = cache
        self._named = named
        self._hits = counts.requests.labels(path, "memory")
        self._requests = counts.requests
        self._joined = counts.joined

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a document, from memory without a turn of the loop where it can be."""
        del receive
        asked, query = read_query(scope, self.path)
        await self.serve(DocumentKey(self.path, read_environment_key(scope), query), asked, scope, send)

    def names(self, scope: Scope) -> Headers:
        """Name the environment, where the request has a key and its environment is known."""
        key = header(scope, b"x-environment-key").decode("latin-1")
        return named(self._cache.environment_of(key)) if self._named and is_environment_key(key) else []

    async def serve(self, key: DocumentKey, asked: int, scope: Scope, send: Send) -> None:
        """Serve the document of `key`."""
        if_none_match = header(scope, b"if-none-match")
        rendered = self._cache.hit(key, asked)
        if rendered is not None:
            self._hits.inc()
            newest = self._is_newest(key, rendered)
            await send_rendered(send, rendered, asked=asked, newest=newest, if_none_match=if_none_match)
            return
        served = await self._cache.get(key, asked)
        self._requests.labels(self.path, "stale" if served.stale else served.layer).inc()
        if served.joined:
            self._joined.inc()
        newest = self._is_newest(key, served.rendered)
        await send_rendered(
            send, served.rendered, asked=asked, stale=served.stale, newest=newest, if_none_match=if_none_match
        )

    def _is_newest(self, key: DocumentKey, rendered: Rendered) -> bool:
        """Tell whether an edge may keep it until it is purged: changes are announced, and it surely lacks none."""
        return not self._named or 0 < self._cache.announced(key.environment_key) <= rendered.version <= rendered.stated


class IdentitiesEndpoint(DocumentEndpoint):
    """``GET`` and ``POST /api/v1/identities/``: the flags of one person."""

    methods = ("GET", "HEAD", "POST", "OPTIONS")

    def __init__(self, cache: Cache, identities: Identities, counts: Counts, *, max_body_bytes: int) -> None:
        super().__init__("identities", cache, counts, named=False)  # one person's answers are kept by nobody
        self._identities = identities
        self._limit = max_body_bytes

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one person's flags."""
        asked, query = read_query(scope, self.path)
        key = read_environment_key(scope)
        if scope["method"] != "POST":
            if not query.startswith("identifier=") or query.partition("&")[0] == "identifier=":
                raise Problem(400, "The query parameter identifier is missing: it says whose flags are asked for.")
            await self.serve(DocumentKey(self.path, key, query), asked, scope, send)
            return
        body = await read_body(scope, receive, self._limit)
        served = await self._identities.post(key, body)
        self._requests.labels(self.path, "stale" if served.stale else served.layer).inc()
        await send_rendered(send, served.rendered, asked=asked, stale=served.stale)


class AnalyticsEndpoint(Endpoint):
    """``POST /api/v1/analytics/flags/``: taken at once, passed on later."""

    methods = ("POST", "OPTIONS")

    def __init__(self, collect: Collect, counts: Counts, *, max_body_bytes: int) -> None:
        super().__init__("analytics", counts)
        self._collect = collect
        self._limit = max_body_bytes
        self._taken = counts.requests.labels(self.path, "taken")

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a report of evaluations."""
        key = read_environment_key(scope)
        counts = json_object(await read_body(scope, receive, self._limit))
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LARGEST_COUNT:
                detail = f"The count of {name[:100]!r} must be a whole number from 0 to {LARGEST_COUNT}."
                raise Problem(400, detail)
        self._collect(key, counts)
        self._taken.inc()
        await send_json(send, 200, b"{}", [])
