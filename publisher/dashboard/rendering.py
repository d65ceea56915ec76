"""From a template to a response: Jinja2 with everything escaped, and the headers that every page carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

__all__ = ["STATIC", "Renderer"]

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

_LONGEST_SHOWN = 200
"""Characters of a value on a page; the editor fetches the whole one."""


class Renderer:
    """Renders pages that may load nothing from elsewhere and connect to the stream server only."""

    def __init__(self, stream_url: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            shown=shown, kind=kind, iso=iso, readable=readable, segment=segment, duration=duration
        )
        self._environment.globals["stream_url"] = stream_url.rstrip("/")
        parts = urlsplit(stream_url)
        self.headers: Mapping[str, str] = {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                f"connect-src 'self' {parts.scheme}://{parts.netloc}; "
                "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def page(self, template: str, *, status: int = 200, **content: Any) -> Response:
        """Return the page that `template` makes of `content`."""
        html = self._environment.get_template(template).render(**content)
        return HTMLResponse(html, status, headers=dict(self.headers))


def shown(value: Any) -> str:
    """Return a flag's value as JSON in one line, cut where it is long; the script on the page writes it the same."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def kind(value: Any) -> str:
    """Return the type of a value in the editor's words: none, string, number, boolean or json."""
    match value:
        case None:
            return "none"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "number"
    return "json"


def iso(seconds: float) -> str:
    """Return a time for a `datetime` attribute."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def readable(seconds: float) -> str:
    """Return a time for people; scripts turn it into the reader's own zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %Y, %H:%M:%S UTC")


def segment(text: str) -> str:
    """Return `text` as one segment of a path."""
    return quote(text, safe="")


def duration(seconds: float) -> str:
    """Return a length of time with three digits that matter: ``3.4 ms``, ``184 ms``, ``2.1 s``, ``4 min``."""
    seconds = max(seconds, 0.0)
    for below, factor, unit in (
        (0.01, 1000, "ms"),
        (1, 1000, "ms"),
        (10, 1, "s"),
        (120, 1, "s"),
        (7200, 1 / 60, "min"),
    ):
        if seconds < below:
            digits = 1 if below in {0.01, 10} else 0
            return f"{seconds * factor:.{digits}f} {unit}"
    return f"{seconds / 3600:.0f} h"
