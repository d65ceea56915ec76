"""Errors as problem documents (RFC 9457), and what only HTTP can get wrong.

`type` points into the page that explains the API, `code` is the same for programs, `errors` names the fields.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from flagstream.logs import get_logger
from publisher.errors import (
    BrokerAwayError,
    DuplicateError,
    Fault,
    InvalidError,
    NotFoundError,
    PublisherError,
    StaleError,
)

__all__ = [
    "CODES",
    "ForbiddenError",
    "MalformedError",
    "MediaTypeError",
    "Problem",
    "TooLargeError",
    "UnauthorizedError",
    "answer",
    "http_exception",
    "problem_of",
]

_logger = get_logger(__name__)

CODES: dict[str, tuple[int, str]] = {
    "malformed": (400, "The body is not JSON."),
    "unauthorized": (401, "There is no valid token."),
    "forbidden": (403, "The request could come from another site."),
    "not-found": (404, "There is no such thing."),
    "method-not-allowed": (405, "The path does not know this method; Allow names those it knows."),
    "duplicate": (409, "A name or key is taken."),
    "stale-version": (409, "The body's version is not the current one."),
    "stale": (412, "If-Match is not the current version."),
    "too-large": (413, "The body is larger than the server takes."),
    "media-type": (415, "The body is not declared as JSON."),
    "invalid": (422, "Fields have values that cannot be."),
    "internal": (500, "A fault of the server; its log says what."),
    "broker-away": (503, "NATS does not answer; what was written waits, and the request may be repeated."),
    "unavailable": (503, "The database cannot be reached; nothing was changed, or the outcome is unknown."),
}
"""Every problem of the API: code, status, meaning."""


class MalformedError(PublisherError):
    """The body cannot be read as JSON; the message says where."""


class UnauthorizedError(PublisherError):
    """No token, or one that opens nothing."""


class ForbiddenError(PublisherError):
    """A signed-in browser was sent here by another site, as far as can be told."""


class TooLargeError(PublisherError):
    """The body is above the limit of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the body must be at most {limit} bytes")


class MediaTypeError(PublisherError):
    """The body is declared as something else than JSON."""


class FieldError(msgspec.Struct, frozen=True):
    """One field that is wrong and what to do."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document. `current` is the version that a stale request should have known."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = []
    current: int | None = None


_CODE_OF: dict[type[PublisherError], str] = {
    MalformedError: "malformed",
    UnauthorizedError: "unauthorized",
    ForbiddenError: "forbidden",
    NotFoundError: "not-found",
    DuplicateError: "duplicate",
    TooLargeError: "too-large",
    MediaTypeError: "media-type",
    InvalidError: "invalid",
    BrokerAwayError: "broker-away",
}


def _problem(code: str, detail: str, **more: Any) -> Problem:
    status = CODES[code][0]
    return Problem(
        type=f"/api/docs#{code}", title=HTTPStatus(status).phrase, status=status, detail=detail, code=code, **more
    )


def problem_of(error: Exception) -> Problem:
    """Return the problem document of an error; what is not expected is a fault of ours, and logged whole."""
    if isinstance(error, StaleError):
        return _problem("stale" if error.by_header else "stale-version", str(error), current=error.current)
    if isinstance(error, PublisherError):
        faults: list[Fault] = []
        if isinstance(error, InvalidError):
            faults = error.faults
        elif isinstance(error, DuplicateError):
            faults = [Fault(error.field, str(error))]
        return _problem(_CODE_OF[type(error)], str(error), errors=[FieldError(f.field, f.message) for f in faults])
    if isinstance(error, SQLAlchemyError | OSError):
        # The driver's text would tell strangers about the database; the log gets it, in one line.
        _logger.error("database failed", error=f"{type(error).__name__}: {error}".splitlines()[0])
        return _problem("unavailable", "the database cannot be reached now; try again in a moment")
    _logger.error("fault while answering", exc_info=error)
    return _problem("internal", "something went wrong on our side; nothing is known of the outcome")


def answer(problem: Problem) -> Response:
    """Return the response that carries `problem`, with the headers that its status asks for."""
    headers = {"Cache-Control": "no-store"}
    match problem.status:
        case HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Bearer realm="flagstream"'
        case HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "1"
    return Response(
        msgspec.json.encode(problem), problem.status, headers=headers, media_type="application/problem+json"
    )


async def http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: as a problem under /api, a detail under /sse, a plain sentence elsewhere."""
    assert isinstance(error, HTTPException)  # noqa: S101 - this is what it is registered for
    if request.url.path.startswith("/sse"):
        detail = f"there is nothing at {request.method} {request.url.path[:200]}; announce a change by POST "
        detail += "/sse/environments/KEY/queue-change"
        return Response(
            msgspec.json.encode({"detail": detail}),
            error.status_code,
            headers=error.headers,
            media_type="application/json",
        )
    if not request.url.path.startswith("/api"):
        return Response(f"{error.detail}\n", error.status_code, headers=error.headers, media_type="text/plain")
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "not-found")
    detail = f"there is nothing at {request.method} {request.url.path[:200]}; /api/docs lists what there is"
    response = answer(_problem(code, detail))
    response.headers.update(error.headers or {})
    return response
