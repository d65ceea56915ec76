"""`flagstream up`: everything on one machine by one command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from flagstream import logs
from flagstream.cli.child import ChildFailedError
from flagstream.cli.data_folder import DataFolder, default_folder, open_folder
from flagstream.cli.failure import failure
from flagstream.cli.ports import choose_port
from flagstream.cli.seed import seed
from flagstream.cli.stack import Ports, Stack

__all__ = ["up"]

DEFAULT_EDGE_PORT = 8080


class EdgeKind(StrEnum):
    """What can be put in front of the stream server."""

    varnish = "varnish"


def up(
    publisher_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the publisher: API and dashboard; 0 takes a free one.")
    ] = 8000,
    stream_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the stream server; 0 takes a free one.")
    ] = 8088,
    nats_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of NATS; 0 takes a free one.")] = 4222,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Folder for the database, the NATS store and the tokens. "
            "Without it: flagstream in the user's data folder, or flagstream-2, … while another one runs there.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes of the stream server.")] = 1,
    edge: Annotated[
        EdgeKind | None,
        typer.Option(help="Put a real CDN node in front: many clients share a handful of origin streams."),
    ] = None,
    edge_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the edge, 8080 by default; 0 takes a free one.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="Make a demo project on the first run, or start empty.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON on stdout when everything is ready.")
    ] = False,
) -> None:
    """Run everything: an embedded NATS, the publisher on SQLite, the stream server, and an edge if you want one.

    Prints the dashboard's address and an admin token when all is ready, and runs until Ctrl-C. What dies is started
    again. Logs go to stderr.
    """
    logs.configure(program="up")
    os.umask(0o077)  # the database and the broker's files hold secret keys
    if edge_port is not None and edge is None:
        raise failure("--edge-port without an edge: give --edge varnish as well", status=2)
    wanted_edge_port = None if edge is None else DEFAULT_EDGE_PORT if edge_port is None else edge_port
    folder = open_folder(data)
    named = [port for port in (publisher_port, stream_port, nats_port, wanted_edge_port) if port]
    if len(set(named)) < len(named):
        raise failure("each program needs a port of its own; two of them have the same", status=2)
    ports = Ports(
        publisher=choose_port(publisher_port, "--publisher-port"),
        stream=choose_port(stream_port, "--stream-port"),
        nats=choose_port(nats_port, "--nats-port"),
        edge=None if wanted_edge_port is None else choose_port(wanted_edge_port, "--edge-port"),
    )
    stack = Stack(folder, ports, workers)
    try:
        asyncio.run(_run(stack, folder, demo=demo, as_json=as_json))
    finally:
        folder.close()


async def _run(stack: Stack, folder: DataFolder, *, demo: bool, as_json: bool) -> None:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():  # a second signal stops at once
            stack.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, on_signal)

    running = asyncio.create_task(_start_and_keep(stack, folder, demo=demo, as_json=as_json))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            _report(running)
    finally:
        for task in (running, stopped):
            task.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)
        await stack.stop()


def _report(running: asyncio.Task[None]) -> None:
    """Turn what went wrong into a sentence; anything unforeseen keeps its traceback."""
    error = running.exception()
    match error:
        case ChildFailedError():
            raise failure(str(error))
        case TimeoutError():
            raise failure("the programs did not become ready in time; their messages are above")
        case httpx.HTTPError():
            raise failure(f"the demo project could not be made: {error}; --no-demo starts without it")
        case BaseException():
            raise error


async def _start_and_keep(stack: Stack, folder: DataFolder, *, demo: bool, as_json: bool) -> None:
    await stack.start()
    environment = folder.demo()
    if environment is None and demo:
        environment = await seed(stack.publisher_url, stack.admin_token)
        folder.remember_demo(environment)
    environment = environment if demo else None
    described = stack.described(environment)
    folder.show_running(described)
    if as_json:
        typer.echo(json.dumps(described))
    else:
        _greet(described, folder.path)
    async with asyncio.TaskGroup() as group:
        group.create_task(stack.keep_running())
        group.create_task(_keep_described(stack, folder, environment))


async def _keep_described(stack: Stack, folder: DataFolder, environment: dict[str, str] | None) -> None:
    """Keep the file that names the running processes true when one of them is replaced."""
    while True:
        await stack.restarted.wait()
        stack.restarted.clear()
        folder.show_running(stack.described(environment))


def _greet(stack: dict[str, Any], folder: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold green]Flagstream is up.[/]  Data: {folder}\n")
    console.print(f"  Dashboard    [bold]{stack['publisher']}[/]")
    console.print(f"  Admin token  [bold]{stack['admin_token']}[/]")
    if "edge" in stack:
        console.print(f"  Edge         [bold]{stack['edge']}[/] (Varnish, in front of {stack['stream']})")
    environment = stack["environment"]
    if environment is not None:
        key, feature = environment["key"], environment["feature"]
        console.print(f"\n  Listen       curl -N {stack.get('edge', stack['stream'])}/sse/environments/{key}/stream")
        command, elsewhere = _command(), "" if folder == default_folder() else f" --data {folder}"
        console.print(f"  Watch        {command} watch {key}{elsewhere}")
        console.print(f"  Toggle       {command} toggle {key} {feature}{elsewhere}")
    console.print("\n  Ctrl-C stops everything.\n")


def _command() -> str:
    """Return how this shell can call the command: by name where it is on the path, else by its file."""
    return "flagstream" if shutil.which("flagstream") else sys.argv[0]
