"""How commands talk to a publisher: which one, with which token, and what its refusals mean in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from flagstream.cli.data_folder import running_stack
from flagstream.cli.failure import failure

__all__ = ["Data", "Token", "Url", "checked", "publisher"]

Url = Annotated[
    str | None, typer.Option(envvar="FLAGSTREAM_URL", help="The publisher; else the running flagstream up's.")
]
Token = Annotated[
    str | None, typer.Option(envvar="FLAGSTREAM_TOKEN", help="An admin token; else the running flagstream up's.")
]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="The data folder of the flagstream up to talk to.")]


@contextmanager
def publisher(url: str | None, token: str | None, data: Path | None) -> Iterator[httpx.Client]:
    """Open a client of the publisher; failures of the connection become sentences."""
    stack = running_stack(data) or {}
    url = url or stack.get("publisher")
    token = token or stack.get("admin_token")
    if not url or not token:
        raise failure(
            "no flagstream up runs here; give --url and --token (or FLAGSTREAM_URL and FLAGSTREAM_TOKEN)", status=2
        )
    if not _is_url(url):
        raise failure(f"{url} is not a URL; write it like http://127.0.0.1:8000", status=2)
    try:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10) as client:
            yield client
    except UnicodeEncodeError:
        raise failure("--token has characters that no token has; copy it again", status=2) from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise failure(f"the publisher at {url} does not answer ({reason}); is it running?") from None


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def checked(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of a success; say what the publisher refuses otherwise."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise failure(f"{response.url} is not a Flagstream publisher (status {response.status_code})")
    if response.is_success:
        return body
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise failure("the publisher refuses this token; give an admin token with --token or FLAGSTREAM_TOKEN")
    faults = [f"{each.get('field')}: {each.get('message')}" for each in body.get("errors", [])]
    raise failure(*(faults or [str(body.get("detail") or body.get("title") or f"status {response.status_code}")]))
