"""What goes back to clients: headers, caching rules and errors.

Which answers a shared cache may keep: only one that the upstream itself says is of the version its URL asks for
(``?v=``) is kept long. Any other is kept for a second, so that a lagging upstream is not asked by everyone. Without
``?v=`` a cache passes, because an update makes such an answer old at once. A stale one, an answer for one person and
an error without ``?v=`` are kept by nobody (RFC 9111).

An edge that is purged may keep an answer without ``?v=`` for long all the same, by its ``Surrogate-Key``; never one
that says ``no-store``: it is older than what is known already, or nobody announces its environment's changes.
"""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.types import Send

from publisher.messages import surrogate_key
from stream_server.documents.document import Document

__all__ = ["CORS", "PREFLIGHT", "Failure", "Problem", "Rendered", "named", "send_json", "send_rendered"]

Headers = list[tuple[bytes, bytes]]

CORS: Final[Headers] = [
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"X-Flagsmith-Document-Updated-At, X-Flagstream-Version, X-Flagstream-Stale, ETag, Age, Retry-After",
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


def named(environment: str) -> Headers:
    """Return the header by which an edge purges what it holds of `environment` (a client-side key); none for ""."""
    return [(b"surrogate-key", surrogate_key("document", environment).encode())] if environment else []


class Rendered:
    """The headers of a document's answers, made once; `kept` is whether shared caches may keep it under ``?v=``.

    `purged_by` is the client-side key whose name an edge purges it by, empty where it has none.
    """

    __slots__ = ("body", "etag", "kept", "passed", "second", "stated", "version")

    def __init__(self, document: Document, *, kept: bool, purged_by: str = "") -> None:
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
            *named(purged_by),
        ]
        self.passed = [*common, (b"cache-control", PASSED if kept else NOBODY)]
        self.kept = [*common, (b"cache-control", KEPT)] if kept else self.passed
        self.second = [*common, (b"cache-control", SHARED_FOR_A_SECOND)] if kept else self.passed

    def headers(self, asked: int, *, stale: bool, newest: bool = True) -> Headers:
        """Return the headers for a request that asked for version `asked` (0: it did not say).

        `newest` is whether an edge that is purged may keep it: its changes are announced, and it lacks none.
        """
        if stale:
            return [*self._for_nobody(), (b"x-flagstream-stale", b"1")]
        if not asked:
            return self.passed if newest else self._for_nobody()
        return self.kept if self.stated >= asked else self.second

    def _for_nobody(self) -> Headers:
        """Return headers by which no cache keeps it, whether it is purged or not."""
        return [*self.passed[:-1], (b"cache-control", NOBODY)]


async def send_rendered(
    send: Send,
    rendered: Rendered,
    *,
    asked: int,
    stale: bool = False,
    newest: bool = True,
    if_none_match: bytes = b"",
) -> None:
    """Send a document, or 304 where the client has it; `stale` and `newest` as in `Rendered.headers`."""
    headers = rendered.headers(asked, stale=stale, newest=newest)
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
