"""`flagstream serve`: run the stream server."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["serve"]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve this port.")] = None,
    nats_url: Annotated[
        list[str] | None, typer.Option(help="A server of the NATS cluster; may be given several times.")
    ] = None,
    upstream_url: Annotated[str | None, typer.Option(help="The management API that flag documents come from.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="Redis to share documents between hosts.")] = None,
    edge: Annotated[
        bool | None, typer.Option("--edge/--no-edge", help="Behind a CDN that collapses stream requests, or not.")
    ] = None,
    waiting_room: Annotated[
        bool | None,
        typer.Option(
            "--waiting-room/--no-waiting-room", help="Serve streams that only wait; see docs/waiting-room.md."
        ),
    ] = None,
    waiting_for: Annotated[
        list[str] | None,
        typer.Option(help="A stream server that the clients of a waiting room wait for; may be given several times."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the settings, print them, and exit.")] = False,
) -> None:
    """Run the stream server: SSE streams of environment updates, and flag documents.

    Settings come from its defaults, the `[stream_server]` table of the file that FLAGSTREAM_CONFIG names,
    STREAM_SERVER_… environment variables and these options, the later over the earlier.
    """
    from flagstream.cli.program import run_program  # noqa: PLC0415 - the same
    from stream_server.main import run  # noqa: PLC0415 - each command loads only the program that it runs
    from stream_server.settings import StreamServerSettings  # noqa: PLC0415 - the same

    options = {
        "host": host,
        "port": port,
        "workers": workers,
        "nats_url": nats_url or None,
        "upstream_url": upstream_url,
        "redis_url": redis_url,
        "edge": edge,
        "waiting_room": waiting_room,
        "waiting_for": waiting_for or None,
    }
    given = {name: value for name, value in options.items() if value is not None}
    run_program(StreamServerSettings, lambda settings: run(settings, given), given, check=check)
