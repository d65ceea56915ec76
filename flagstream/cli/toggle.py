"""`flagstream toggle`: switch a feature on or off, or give it a value, through the management API."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from flagstream.cli.failure import failure
from flagstream.cli.publisher_api import Data, Token, Url, checked, publisher

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
    url: Url = None,
    token: Token = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the new state as JSON.")] = False,
) -> None:
    """Switch a feature: flip it, or set it with --on, --off or --value."""
    path = f"/api/environments/{quote(key, safe='')}/features/{quote(feature, safe='')}"
    change: dict[str, Any] = {}
    if enabled is not None:
        change["enabled"] = enabled
    if value is not None:
        change["value"] = _value(value)
    with publisher(url, token, data) as client:
        state = checked(client.patch(path, json=change)) if change else _flip(client, path)
    if as_json:
        typer.echo(json.dumps(state))
        return
    word = "on" if state["enabled"] else "off"
    typer.echo(f"{feature} is {word}, value {json.dumps(state['value'])}, updated_at {state['updated_at']!r}")


def _flip(client: httpx.Client, path: str) -> dict[str, Any]:
    """Turn on what is off and the other way round, on the very state that was read."""
    for _ in range(TRIES):
        read = client.get(path)
        state = checked(read)
        unchanged = {"If-Match": read.headers["ETag"]}
        written = client.patch(path, json={"enabled": not state["enabled"]}, headers=unchanged)
        if written.status_code != httpx.codes.PRECONDITION_FAILED:
            return checked(written)
    raise failure("others keep changing this feature; say what you want with --on or --off")


def _value(text: str) -> Any:
    """Read JSON; what is not JSON is the string itself, so that --value blue needs no quotes within quotes."""
    try:
        value = json.loads(text, parse_constant=_not_json)
        json.dumps(value, allow_nan=False).encode()
    except json.JSONDecodeError:
        value = text
    except (ValueError, RecursionError) as error:
        raise failure(f"--value cannot be sent as JSON: {error}", status=2) from None
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise failure("--value is not UTF-8 text", status=2) from None
    return value


def _not_json(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is not a JSON number")
