"""`flagstream edge`: what an operator needs around an edge. Each command is a module of its own."""

from __future__ import annotations

import typer

from flagstream.cli.edge.feed import feed_nchan
from flagstream.cli.edge.render import render
from flagstream.cli.edge.report import report

__all__ = ["edge"]

edge = typer.Typer(name="edge", help="Fan-out at the edge: Varnish, Fastly, nchan.", no_args_is_help=True)
render_app = typer.Typer(
    name="render", help="Write a configuration, filled in from the settings.", no_args_is_help=True
)
render_app.command(name="varnish")(render)
edge.add_typer(render_app)
edge.command()(report)
edge.command(name="feed-nchan")(feed_nchan)
