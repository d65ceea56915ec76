"""How the command line says what went wrong: sentences on stderr, no traceback."""

from __future__ import annotations

import typer

__all__ = ["failure"]


def failure(*sentences: str, status: int = 1) -> typer.Exit:
    """Print each sentence as a line of its own on stderr; raise what this returns to exit with `status`.

    Status 2 is for what the user typed, 1 for what went wrong afterwards.
    """
    for sentence in sentences:
        typer.echo(f"flagstream: {sentence}", err=True)
    return typer.Exit(status)
