"""What the harness asks for when it creates a stream: docs/service_spec.md of sse-contract-tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx


class ParamsError(ValueError):
    """The harness gets a 400 with this text."""


@dataclass(frozen=True, slots=True)
class StreamParams:
    """`initial_delay` and `read_timeout` are in seconds, None where the client is to use its own."""

    stream_url: str
    callback_url: str
    tag: str
    initial_delay: float | None
    read_timeout: float | None
    last_event_id: str
    headers: Mapping[str, str]
    method: str
    body: str

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the JSON of "create stream"; raises ParamsError."""
        if not isinstance(document, dict):
            raise ParamsError("the body has to be a JSON object")
        return cls(
            stream_url=_url(document, "streamUrl"),
            callback_url=_url(document, "callbackUrl"),
            tag=_text(document, "tag"),
            initial_delay=_seconds(document, "initialDelayMs"),
            read_timeout=_seconds(document, "readTimeoutMs"),
            last_event_id=_text(document, "lastEventId"),
            headers=_headers(document),
            method=_text(document, "method") or "GET",
            body=_text(document, "body"),
        )


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ParamsError(f"{name} has to be a string")
    return value


def _url(document: dict[str, Any], name: str) -> str:
    text = _text(document, name)
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ParamsError(f"{name} has to be an http or https URL")
    return text


def _seconds(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ParamsError(f"{name} has to be a number of milliseconds")
    return value / 1000


def _headers(document: dict[str, Any]) -> dict[str, str]:
    headers = document.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise ParamsError("headers has to be an object of strings")
    return headers
