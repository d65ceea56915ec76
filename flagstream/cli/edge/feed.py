"""`flagstream edge feed-nchan`: keep nginx with nchan told of the newest versions."""

from __future__ import annotations

from typing import Annotated

import typer

from flagstream.cli.failure import failure

__all__ = ["feed_nchan"]


def feed_nchan(
    nginx: Annotated[
        list[str], typer.Option(help="Where the feeder's own server of an nginx listens; may be given several times.")
    ] = ["http://127.0.0.1:8085"],  # noqa: B006 - typer reads it and hands out copies
    nats_url: Annotated[
        list[str] | None, typer.Option(help="A server of the NATS cluster; may be given several times.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address that /health and /metrics listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Their port; 0 takes a free one.", min=0, max=65535)] = 8086,
    check: Annotated[bool, typer.Option("--check", help="Check the settings, print them, and exit.")] = False,
) -> None:
    """Tell nginx with nchan of every new version, and send its streams heartbeats.

    NATS, `min_interval`, `retry` and logs come from the stream server's settings: the `[stream_server]` table of the
    file that FLAGSTREAM_CONFIG names, and STREAM_SERVER_… environment variables.
    """
    from cdn.nchan.connection import Address  # noqa: PLC0415 - each command loads only the program that it runs
    from cdn.nchan.feeder import run  # noqa: PLC0415 - the same
    from flagstream.cli.program import run_program  # noqa: PLC0415 - the same
    from stream_server.settings import StreamServerSettings  # noqa: PLC0415 - the same

    try:
        addresses = [Address.of(url) for url in nginx]
    except ValueError as error:
        raise failure(f"--nginx: {error}", status=2) from None
    run_program(
        StreamServerSettings,
        lambda settings: run(settings, addresses, host, port),
        {"nats_url": nats_url or None},
        check=check,
    )
