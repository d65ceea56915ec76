"""`flagstream loadtest`: the load test on the command line. Each command is a module of its own, as is ``--local``."""

from __future__ import annotations

import typer

from flagstream.cli.loadtest.agent import agent
from flagstream.cli.loadtest.compare import compare
from flagstream.cli.loadtest.listing import listing
from flagstream.cli.loadtest.run import run

__all__ = ["loadtest"]

loadtest = typer.Typer(
    name="loadtest",
    help="Fleets of clients as they really behave: storms, deploys, churn, bursts.",
    no_args_is_help=True,
)
loadtest.command()(run)
loadtest.command(name="list")(listing)
loadtest.command()(compare)
loadtest.command()(agent)
