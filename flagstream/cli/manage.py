"""`flagstream manage`: run the publisher."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["manage"]


def manage(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve this port.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.")
    ] = None,
    nats_url: Annotated[
        list[str] | None, typer.Option(help="A server of the NATS cluster; may be given several times.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the settings, print them, and exit.")] = False,
) -> None:
    """Run the publisher: management API, dashboard, change log and outbox.

    Settings come from its defaults, the `[publisher]` table of the file that FLAGSTREAM_CONFIG names,
    PUBLISHER_… environment variables and these options, the later over the earlier.
    """
    from flagstream.cli.program import run_program  # noqa: PLC0415 - the same
    from publisher.main import run  # noqa: PLC0415 - each command loads only the program that it runs
    from publisher.settings import PublisherSettings  # noqa: PLC0415 - the same

    options = {
        "host": host,
        "port": port,
        "workers": workers,
        "database_url": database_url,
        "nats_url": nats_url or None,
    }
    run_program(PublisherSettings, run, options, check=check)
