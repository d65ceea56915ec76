"""`flagstream edge report`: what a Varnish does, for Prometheus and the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["report"]


def report(
    name: Annotated[
        str | None, typer.Option(metavar="VARNISH_WORKDIR", help="Working folder of the Varnish, its option -n.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address that /metrics and /health listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Their port; 0 takes a free one.")] = None,
    nats_url: Annotated[
        list[str] | None, typer.Option(help="A server of the NATS cluster; may be given several times.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the settings, print them, and exit.")] = False,
) -> None:
    """Report what a Varnish does: metrics for Prometheus, and figures for the dashboard where NATS is given.

    Runs beside the Varnish. Settings come from the defaults, the `[cdn]` table of the file that FLAGSTREAM_CONFIG
    names, CDN_… environment variables and these options, the later over the earlier.
    """
    from cdn.report.main import run  # noqa: PLC0415 - each command loads only the program that it runs
    from cdn.settings import CdnSettings  # noqa: PLC0415 - the same
    from flagstream.cli.program import run_program  # noqa: PLC0415 - the same

    options = {
        "varnish_name": name,
        "report_host": host,
        "report_port": port,
        "nats_url": tuple(nats_url) if nats_url else None,
    }
    run_program(CdnSettings, run, options, check=check)
