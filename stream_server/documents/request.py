"""What a request asks for, read from the ASGI scope, and refused in words where it makes no sense."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.types import Receive, Scope

from publisher.messages import is_too_far_ahead
from stream_server.documents.answers import Problem
from stream_server.documents.document import is_environment_key

__all__ = ["LONGEST_IDENTIFIER", "header", "json_object", "read_body", "read_environment_key", "read_query"]

LONGEST_IDENTIFIER: Final = 2000
_DIGITS: Final = 17
_SELECTING: Final = {"flags": ("feature",), "identities": ("identifier", "feature", "transient")}
"""The query parameters that make another document; all others would only split the cache."""


def header(scope: Scope, name: bytes) -> bytes:
    """Return a request header, empty where it is missing; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def read_environment_key(scope: Scope) -> str:
    """Return the environment key of a request. Raises `Problem` 401."""
    key = header(scope, b"x-environment-key").decode("latin-1")
    if not key:
        raise Problem(401, "The header X-Environment-Key is missing: it carries the environment's key.")
    if not is_environment_key(key):
        raise Problem(401, "X-Environment-Key does not hold an environment key: letters, digits, '-' and '_'.")
    return key


def read_query(scope: Scope, path: str) -> tuple[int, str]:
    """Return the version that is asked for (0: none) and the query that selects the document. Raises `Problem` 400."""
    raw = scope["query_string"]
    if not raw:
        return 0, ""
    if raw[:2] == b"v=" and raw[2:].isdigit():
        return _version(raw[2:].decode()), ""
    try:
        given = dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict"))
    except ValueError:
        raise Problem(400, "The query string is not URL-encoded UTF-8.") from None
    asked = _version(given["v"]) if "v" in given else 0
    selecting = [(name, given[name]) for name in _SELECTING.get(path, ()) if name in given]
    for name, value in selecting:
        if len(value) > LONGEST_IDENTIFIER:
            raise Problem(400, f"{name} is longer than {LONGEST_IDENTIFIER} characters.")
    return asked, urlencode(selecting)


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise Problem(400, "v must be a version: microseconds since the epoch, in decimal digits.")
    if is_too_far_ahead(int(text)):
        raise Problem(400, "v is more than 300 seconds ahead of this server's clock; it is in microseconds.")
    return int(text)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the body of a request. Raises `Problem` 413 above `limit` bytes, as soon as that is known."""
    too_large = Problem(413, f"The body is larger than {limit} bytes.", headers=[(b"connection", b"close")])
    length = header(scope, b"content-length")
    if length.isdigit() and int(length[:20]) > limit:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "The body ended too early.")
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises `Problem` 400."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise Problem(400, "The body must be a JSON object.")
    return content
