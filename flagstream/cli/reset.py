"""`flagstream reset`: put back a version that a wrong clock put far ahead."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from flagstream.cli.publisher_api import Data, Token, Url, checked, publisher

__all__ = ["reset"]


def reset(
    key: Annotated[str, typer.Argument(help="The environment's client-side key.", metavar="KEY")],
    url: Url = None,
    token: Token = None,
    data: Data = None,
) -> None:
    """Put an environment's version back to now.

    For the one case in which versions stand still: a clock was wrong, the version is far ahead, and stream servers
    ignore the environment until that time comes.
    """
    with publisher(url, token, data) as client:
        state = checked(client.post(f"/api/versions/{quote(key, safe='')}/reset"))
    typer.echo(f"{key} is at updated_at {state['updated_at']!r}")
