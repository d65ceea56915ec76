"""The command line: starts the programs and talks to running ones."""

from __future__ import annotations

from typing import Annotated

import typer

from flagstream import __version__
from flagstream.cli.edge import edge
from flagstream.cli.loadtest import loadtest
from flagstream.cli.manage import manage
from flagstream.cli.plan import plan
from flagstream.cli.reset import reset
from flagstream.cli.serve import serve
from flagstream.cli.toggle import toggle
from flagstream.cli.up import up
from flagstream.cli.watch import watch

__all__ = ["app"]

app = typer.Typer(
    name="flagstream",
    help="Feature-flag changes, pushed to every running app within milliseconds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up)
app.command()(manage)
app.command()(serve)
app.command()(watch)
app.command()(toggle)
app.command()(reset)
app.add_typer(edge)
app.add_typer(loadtest)
app.command()(plan)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flagstream {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Feature-flag changes, pushed to every running app within milliseconds."""
    del version
