"""Where a request came from, and where a sign-in may lead to."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

__all__ = ["is_same_origin", "own_path"]


def is_same_origin(request: Request) -> bool:
    """Tell whether a form was sent from a page of ours (Fetch Metadata; `Origin` where a browser lacks that).

    Of `Origin` only host and port are compared: behind a proxy that ends TLS the schemes differ.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return True  # a program sends neither, and has no cookies of anybody that could be abused
    try:
        return urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:  # no URL at all, such as http://[
        return False


def own_path(path: str) -> str:
    """Return `path` if it is one of ours, else the front page: no sign-in may end on another site.

    Browsers read a second slash, a backslash for it, and either after a tab, as the beginning of another host.
    """
    if not path.startswith("/") or path[1:2] in {"/", "\\"} or any(c < " " or c == "\\" for c in path):
        return "/"
    return "/" if path.startswith(("/sign-in", "/sign-out", "/session")) else path
