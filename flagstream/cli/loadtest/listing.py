"""`flagstream loadtest list`: the scenarios that come with it."""

from __future__ import annotations

import typer

__all__ = ["listing"]


def listing() -> None:
    """Show the built-in scenarios: name, clients, seconds, what each tries."""
    from loadtest.scenario.reading import names, read  # noqa: PLC0415 - each command loads only what it runs

    found = [(name, read(name)) for name in names()]
    width = max(len(name) for name, _ in found)
    for name, scenario in found:
        size = f"{scenario.clients.count:,} clients, {scenario.seconds:g} s"
        typer.echo(f"{name:<{width}}  {size:<24}  {scenario.title}")
