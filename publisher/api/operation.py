"""An operation of the API: one method of one path, with what the OpenAPI document says of it, and how it is run.

The order in which a request is refused is the same everywhere: token, then query, then body, then the thing itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec
from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from publisher import tokens
from publisher.api import bodies
from publisher.api.bodies import Body
from publisher.api.problems import ForbiddenError, UnauthorizedError
from publisher.errors import Fault, InvalidError, NotFoundError
from publisher.expectation import Expectation
from publisher.store import Store

__all__ = ["Call", "Guard", "Handler", "Operation", "Query", "Sessions", "json_response"]

Access = Literal["admin", "sse", "environment", "none"]
B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound="Query")
_SAFE = {"GET", "HEAD", "OPTIONS"}
_OWN_TAG = re.compile(r'"([1-9][0-9]{0,9})"')


class Query(Body):
    """A query string: numbers and booleans are written as text there, so this one converts."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    @classmethod
    def lists(cls) -> set[str]:
        """Return the names that may be given several times."""
        return set()


class Sessions(Protocol):
    """Sign-ins of the dashboard, as far as the API needs them."""

    async def actor_of(self, request: Request) -> str | None:
        """Return the name of the token that this browser signed in with, None when it did not."""


@dataclass(slots=True)
class Guard:
    """Finds out in whose name a request is made."""

    store: Store
    admin_token: str
    sessions: Sessions | None = None

    async def actor(self, request: Request) -> str:
        """Return the actor's name; raises `UnauthorizedError` and `ForbiddenError`."""
        header = request.headers.get("authorization")
        if header is None and self.sessions is not None:
            actor = await self.sessions.actor_of(request)
            if actor is not None:
                if request.method not in _SAFE and request.headers.get("x-flagstream-dashboard") != "1":
                    # A form on another site can send the cookie, but not this header.
                    raise ForbiddenError("a signed-in browser must send the header X-Flagstream-Dashboard: 1")
                return actor
        if header is None:
            raise UnauthorizedError("send Authorization: Bearer TOKEN")
        actor = await self.actor_of_token(bearer(header))
        if actor is None:
            raise UnauthorizedError("this token is unknown or revoked")
        return actor

    async def actor_of_token(self, token: str) -> str | None:
        """Return the name of a token, None when it opens nothing."""
        if not token:
            return None
        if tokens.matches(token, self.admin_token):
            return tokens.SETTINGS_TOKEN
        async with self.store.read() as session:
            return await tokens.actor_of(session, token)


def bearer(header: str) -> str:
    """Return the token of an Authorization header: scheme Bearer (RFC 6750) or Token (Flagsmith's word)."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() in {"bearer", "token"} else ""


class Call:
    """One request under way: its parts are read on demand, and each says what is wrong with it."""

    def __init__(self, operation: Operation, request: Request, store: Store, limit: int) -> None:
        self.operation = operation
        self.request = request
        self.store = store
        self.actor = ""
        self._limit = limit

    def text(self, name: str) -> str:
        """Return a part of the path."""
        value: str = self.request.path_params[name]
        return value

    def number(self, name: str, kind: str) -> int:
        """Return a part of the path that is an id; what is no id names nothing, so `NotFoundError`."""
        text = self.text(name)
        if not (text.isascii() and text.isdecimal() and len(text) <= 10):  # noqa: PLR2004 - digits of 2^31
            raise NotFoundError(kind, text[:100])
        return int(text)

    def query(self, model: type[Q]) -> Q:
        """Return the query string as `model`; raises `InvalidError`."""
        assert model is self.operation.query  # noqa: S101 - or the document would tell something else
        content: dict[str, Any] = {}
        for name, value in self.request.query_params.multi_items():
            if name in content and name not in model.lists():
                raise InvalidError(Fault(name, "must be given once"))
            if name in model.lists():
                content.setdefault(name, []).append(value)
            else:
                content[name] = value
        return bodies.checked(model, content, what="the query")

    async def body(self, model: type[B]) -> B:
        """Return the body as `model`; raises the errors of `bodies`."""
        assert model is self.operation.body  # noqa: S101 - or the document would tell something else
        return bodies.checked(model, bodies.parse(await self.raw()))

    async def raw(self, *, any_type: bool = False) -> bytes:
        """Return the body's bytes; raises `TooLargeError` and `MediaTypeError`."""
        return await bodies.read(self.request, self._limit, any_type=any_type)

    def expected(self, version: int | None = None) -> Expectation:
        """Return what the caller saw, by If-Match and by the version in the body."""
        lines = self.request.headers.getlist("if-match")
        if not lines or [line.strip() for line in lines] == ["*"]:
            return Expectation(None, version)
        # A weak tag never matches here (RFC 9110, 13.1.1), and what is no version of ours matches none.
        found = (_OWN_TAG.fullmatch(part.strip()) for line in lines for part in line.split(","))
        return Expectation(frozenset(int(tag[1]) for tag in found if tag), version)

    def one(self, value: Any, *, status: int = 200, location: str | None = None) -> Response:
        """Answer with one thing and its ETag; 304 where the caller has it already."""
        headers = {"ETag": f'"{value.version}"'}
        if location is not None:
            headers["Location"] = location
        if self.request.method in _SAFE and self.request.headers.get("if-none-match") == headers["ETag"]:
            return Response(None, 304, headers=headers)
        return json_response(value, status=status, headers=headers)

    def page(self, items: Sequence[Any], next_after: int | None, *, cursor: str = "after") -> Response:
        """Answer with a list; `next` is where it goes on (also as Link, RFC 8288), null at its end."""
        following = None
        headers = {}
        if next_after is not None:
            query = [(name, value) for name, value in self.request.query_params.multi_items() if name != cursor]
            following = f"{self.request.url.path}?{urlencode([*query, (cursor, next_after)])}"
            headers["Link"] = f'<{following}>; rel="next"'
        return json_response({"items": items, "next": following}, headers=headers)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answers` maps a status to a type, or to None where there is no body."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: Mapping[int, Any]
    refusals: Sequence[str] = ()
    query: type[Query] | None = None
    body: type[Body] | None = None
    any_body: bool = False
    access: Access = "admin"
    conditional: bool = False
    details: bool = False
    notes: str = ""


def json_response(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `content` as JSON that nobody caches unasked."""
    return Response(
        msgspec.json.encode(content),
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
