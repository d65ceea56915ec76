"""`flagstream loadtest agent`: generators on this host for a run that is conducted on another one."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from flagstream.cli.failure import failure

if TYPE_CHECKING:
    from loadtest.agent import Agent

__all__ = ["agent", "host_and_port"]


def agent(
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address to listen on; port 0 takes a free one.")
    ] = "127.0.0.1:8099",
    token: Annotated[
        str,
        typer.Option(
            envvar="FLAGSTREAM_AGENT_TOKEN", help="What a conductor must know; whoever knows it may load any server."
        ),
    ] = "",
) -> None:
    """Start generators for `flagstream loadtest run … --agent HOST:PORT`, one run at a time, until Ctrl-C.

    The connection is not encrypted: use it in a network of yours, or through an ssh tunnel.
    """
    from loadtest.agent import Agent  # noqa: PLC0415 - each command loads only what it runs

    if not token:
        raise failure("give --token, or FLAGSTREAM_AGENT_TOKEN: the same one as the run is given", status=2)
    host, port = host_and_port(listen, "--listen")
    try:
        asyncio.run(_serve(Agent(token, _say), host, port))
    except OSError as error:
        raise failure(f"{listen} cannot be listened on: {error.strerror or error}") from None
    except asyncio.CancelledError:
        raise typer.Exit(0) from None


def host_and_port(text: str, option: str) -> tuple[str, int]:
    """Return the parts of ``HOST:PORT``; ends the command where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or int(port) >= 1 << 16:
        raise failure(f"{option} {text} is no HOST:PORT, as 127.0.0.1:8099", status=2)
    return host.strip("[]"), int(port)


async def _serve(worker: Agent, host: str, port: int) -> None:
    task = asyncio.current_task()
    if task is not None:
        for sig in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sig, task.cancel)
    shown = f"[{host}]" if ":" in host else host
    await worker.serve(host, port, lambda at: _say(f"listening on {shown}:{at}, Ctrl-C to stop"))


def _say(sentence: str) -> None:
    typer.echo(f"flagstream: {sentence}", err=True)
