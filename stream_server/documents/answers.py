"""What goes back to clients: headers, caching rules and errors.

Which answers a shared cache may keep: only one that the upstream itself says is of the version its URL asks for
(``?v=``) is kept long. Any other is kept for a second, so that a lagging upstream is not asked by everyone. Without
``?v=`` a cache passes, because an update makes such an answer old at once. A stale one, an answer for one person and
an error without ``?v=`` are kept by nobody (RFC 9111).
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.types import Send

from stream_server.documents.document import Document

__all__ = ["CORS", "PREFLIGHT", "Failure", "Problem", "Rendered", "send_json", "send_rendered"]

Headers = list[tuple[bytes, bytes]]

CORS: Final[Headers] = [
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"X-Flagsmith-Document-Updated-At, X-Flagstream-Version, X-Flagstream-Stale, ETag, Age",
    ),
]

_ALLOWED_HEADERS: Final = (
    b"X-Environment-Key, Content-Type, Flagsmith-SDK-User-Agent, Flagsmith-Application-Version, Authorization, "
    b"Accept, Cache-Control, If-None-Match"
)

PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", _ALLOWED_HEADERS),
    (b"access-control-max-age", b"86400"),
    (b"cache-control", b"public, max-age=86400"),
]

KEPT: Final = b"public, max-age=86400, immutable"
SHARED_FOR_A_SECOND: Final = b"public, max-age=0, s-maxage=1"
PASSED: Final = b"private, no-cache"
NOBODY: Final = b"private, no-store"

PART: Final = 64 * 1024
"""Bytes of a document that are written at a time."""

_VARY: Final = (b"vary", b"X-Environment-Key")


class Problem(Exception):  # noqa: N818 - it is an answer as much as an error
    """An answer that is no document: `status`, and the sentence of its ``{"detail": …}`` or the upstream's own body."""

    def __init__(self, status: int, detail: str, *, body: bytes | None = None, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.body = msgspec.json.encode({"detail": detail}) if body is None else body
        self.headers = headers or []


class Failure(Problem):
    """The upstream did not give an answer that could be used, and no layer has a document."""


class Rendered:
    """The headers of a document's answers, made once; `kept` is whether shared caches may keep it under ``?v=``."""

    __slots__ = ("body", "etag", "kept", "passed", "second", "stated", "version")

    def __init__(self, document: Document, *, kept: bool) -> None:
        version = document.version
        self.version = version
        self.stated = document.stated
        self.body = document.body
        self.etag = document.etag
        common = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(document.body)).encode()),
            (b"etag", document.etag),
            (b"x-flagstream-version", str(version).encode()),
            (b"x-flagsmith-document-updated-at", b"%d.%06d" % divmod(version, 1_000_000)),
            *CORS,
            _VARY,
        ]
        self.passed = [*common, (b"cache-control", PASSED if kept else NOBODY)]
        self.kept = [*common, (b"cache-control", KEPT)] if kept else self.passed
        self.second = [*common, (b"cache-control", SHARED_FOR_A_SECOND)] if kept else self.passed

    def headers(self, asked: int, *, stale: bool) -> Headers:
        """Return the headers for a request that asked for version `asked` (0: it did not say)."""
        if stale:
            return [*self.passed[:-1], (b"cache-control", NOBODY), (b"x-flagstream-stale", b"1")]
        if not asked:
            return self.passed
        return self.kept if self.stated >= asked else self.second


async def send_rendered(
    send: Send, rendered: Rendered, *, asked: int, stale: bool = False, if_none_match: bytes = b""
) -> None:
    """Send a document, or 304 where the client has it."""
    headers = rendered.headers(asked, stale=stale)
    if if_none_match and _matches(if_none_match, rendered.etag):
        not_modified = [each for each in headers if each[0] not in {b"content-length", b"content-type"}]
        await send({"type": "http.response.start", "status": 304, "headers": not_modified})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # In parts: between them the server waits for a client that reads slowly, of whom it would else hold the whole.
    body = rendered.body
    last = max(len(body) - 1, 0) // PART * PART
    for begin in range(0, last, PART):
        await send({"type": "http.response.body", "body": body[begin : begin + PART], "more_body": True})
    await send({"type": "http.response.body", "body": body[last:]})


def _matches(if_none_match: bytes, etag: bytes) -> bool:
    """Compare weakly, as RFC 9110 section 13.1.2 demands."""
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return etag in tags or tags == [b"*"]


async def send_json(send: Send, status: int, body: bytes, headers: Headers, *, cache: bytes = NOBODY) -> None:
    """Send JSON that is no document."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", cache),
                *CORS,
                _VARY,
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
