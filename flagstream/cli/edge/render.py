"""`flagstream edge render varnish`: the configuration of a Varnish, filled in from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flagstream.cli.failure import failure
from flagstream.settings import SettingsError, load

__all__ = ["render"]


def render(
    folder: Annotated[Path, typer.Argument(help="Folder to write into; it is made.", metavar="DIR", file_okay=False)],
    origins: Annotated[
        list[str] | None, typer.Option("--origin", help="HOST:PORT of a stream server; may be given several times.")
    ] = None,
    waiting_room: Annotated[str | None, typer.Option(help="HOST:PORT of the waiting room; empty for none.")] = None,
    port: Annotated[int | None, typer.Option(help="Port that Varnish listens on.")] = None,
    clients: Annotated[int | None, typer.Option(help="Clients at once that its threads must do for.")] = None,
) -> None:
    """Write the configuration of a Varnish into DIR: its VCL, and `start`, which runs varnishd with it.

    Settings come from the defaults, the `[cdn]` table of the file that FLAGSTREAM_CONFIG names, CDN_… environment
    variables and these options. Timeouts follow from `[stream_server]`, so that both agree.
    """
    from cdn.render import varnish, write  # noqa: PLC0415 - each command loads only what it needs
    from cdn.settings import CdnSettings  # noqa: PLC0415 - the same
    from stream_server.settings import StreamServerSettings  # noqa: PLC0415 - the same

    options = {
        "origins": tuple(origins) if origins else None,
        "waiting_room": waiting_room,
        "port": port,
        "clients": clients,
    }
    try:
        edge = load(CdnSettings, overrides={name: value for name, value in options.items() if value is not None})
        streams = load(StreamServerSettings)
    except SettingsError as error:
        raise failure(*error.faults, status=2) from None
    try:
        write(varnish(edge, streams), folder)
    except OSError as error:
        raise failure(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    if not streams.edge:
        typer.echo(
            "flagstream: note: the stream servers need edge = true, which [stream_server] does not say here", err=True
        )
    typer.echo(f"Written to {folder}. {folder / 'start'} -C checks it, {folder / 'start'} -n DIR runs it.")
