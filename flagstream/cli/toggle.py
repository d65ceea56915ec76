"""`flagstream toggle`: switch a feature on or off, or give it a value, through the management API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from flagstream.cli.data_folder import running_stack
from flagstream.cli.failure import failure

__all__ = ["toggle"]

TRIES = 5
"""How often a flip is tried again when somebody else changed the feature in between."""


def toggle(
    key: Annotated[str, typer.Argument(help="The environment's client-side key.", metavar="KEY")],
    feature: Annotated[str, typer.Argument(help="The feature's name.", metavar="FEATURE")],
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Switch it on or off.")] = None,
    value: Annotated[
        str | None,
        typer.Option(help="Give it this value: JSON, or any other text as a string.", metavar="VALUE"),
    ] = None,
    url: Annotated[
        str | None, typer.Option(envvar="FLAGSTREAM_URL", help="The publisher; else the running flagstream up's.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="FLAGSTREAM_TOKEN", help="An admin token; else the running flagstream up's.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data folder of the flagstream up to talk to.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the new state as JSON.")] = False,
) -> None:
    """Switch a feature: flip it, or set it with --on, --off or --value."""
    stack = running_stack(data) or {}
    url = url or stack.get("publisher")
    token = token or stack.get("admin_token")
    if not url or not token:
        raise failure(
            "no flagstream up runs here; give --url and --token (or FLAGSTREAM_URL and FLAGSTREAM_TOKEN)", status=2
        )
    path = f"{url.rstrip('/')}/api/environments/{quote(key, safe='')}/features/{quote(feature, safe='')}"
    change: dict[str, Any] = {}
    if enabled is not None:
        change["enabled"] = enabled
    if value is not None:
        change["value"] = _value(value)
    try:
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=10) as client:
            state = _checked(client.patch(path, json=change)) if change else _flip(client, path)
    except httpx.InvalidURL:
        raise failure(f"{url} is not a URL; write it like http://127.0.0.1:8000", status=2) from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise failure(f"the publisher at {url} does not answer ({reason}); is it running?") from None
    if as_json:
        typer.echo(json.dumps(state))
        return
    word = "on" if state["enabled"] else "off"
    typer.echo(f"{feature} is {word}, value {json.dumps(state['value'])}, updated_at {state['updated_at']!r}")


def _flip(client: httpx.Client, path: str) -> dict[str, Any]:
    """Turn on what is off and the other way round, on the very state that was read."""
    for _ in range(TRIES):
        read = client.get(path)
        state = _checked(read)
        unchanged = {"If-Match": read.headers["ETag"]}
        written = client.patch(path, json={"enabled": not state["enabled"]}, headers=unchanged)
        if written.status_code != httpx.codes.PRECONDITION_FAILED:
            return _checked(written)
    raise failure("others keep changing this feature; say what you want with --on or --off")


def _checked(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success and isinstance(body, dict):
        return body
    if not isinstance(body, dict):
        raise failure(f"{response.url} is not a Flagstream publisher (status {response.status_code})")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise failure("the publisher refuses this token; give an admin token with --token or FLAGSTREAM_TOKEN")
    faults = [f"{each.get('field')}: {each.get('message')}" for each in body.get("errors", [])]
    raise failure(*(faults or [str(body.get("detail") or body.get("title") or f"status {response.status_code}")]))


def _value(text: str) -> Any:
    """Read JSON; what is not JSON is the string itself, so that --value blue needs no quotes within quotes."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
