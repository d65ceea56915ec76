"""`flagstream loadtest run`: a scenario against a stack of its own, or against servers that are there."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from flagstream import logs
from flagstream.cli.failure import failure
from flagstream.cli.loadtest.agent import host_and_port
from flagstream.cli.loadtest.writing import check_distinct, check_writable

__all__ = ["run"]


class Edge(StrEnum):
    """What stands in front of the stream server."""

    none = "none"
    varnish = "varnish"


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="NAME|FILE.toml", help="A built-in scenario (flagstream loadtest list), or a file.")
    ],
    local: Annotated[
        bool, typer.Option("--local", help="Bring up a stack on this machine, which the scenario may hurt.")
    ] = False,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The stream server to load instead.")] = None,
    edge_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The edge to load, alone or beside --url.")
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Client-side key of an environment there; may be given more than once."),
    ] = None,
    publish_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The publisher there; without it nothing is published.")
    ] = None,
    token: Annotated[
        str, typer.Option(envvar="FLAGSTREAM_SSE_TOKEN", help="The publisher's sse_token, to publish with.")
    ] = "",
    short: Annotated[bool, typer.Option("--short", help="The scenario's short form, of some ten seconds.")] = False,
    clients: Annotated[int | None, typer.Option(help="How many clients there are at the start.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long it takes, without what settles at the end.")] = None,
    rate: Annotated[float | None, typer.Option(help="Changes a second; 0 for none.")] = None,
    environments: Annotated[int | None, typer.Option(help="How many environments.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of the --local stream server.")] = None,
    edge: Annotated[Edge | None, typer.Option(help="What stands before the --local stream server.")] = None,
    redis: Annotated[
        bool | None, typer.Option("--redis/--no-redis", help="Whether the --local stack has a Redis.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of chance: the same seed has clients wait the same times.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Generator processes on each host; else as many as it takes.")
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Have the clients on another host, where flagstream loadtest agent runs; may be given more than once.",
        ),
    ] = None,
    agent_token: Annotated[str, typer.Option(envvar="FLAGSTREAM_AGENT_TOKEN", help="The agents' token.")] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results; - is standard output.")
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write the report, a page that loads nothing; - is standard output."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing while it runs.")] = False,
) -> None:
    """Run a scenario: its clients, its changes, what is done to the servers; then judge by its thresholds.

    Exit status: 0 passed, 1 failed, 2 what was asked for makes no sense, 130 interrupted. Ctrl-C ends a run early and
    reports what was measured, a second one at once.
    """
    from flagstream.cli.loadtest.running import Wanted, made  # noqa: PLC0415 - each command loads only what it runs

    logs.configure(program="loadtest", level="error")
    given = {
        "clients.count": clients,
        "seconds": seconds,
        "publish.rate": rate,
        "environments.count": environments,
        "local.workers": workers,
        "local.edge": None if edge is None else edge.value,
        "local.redis": redis,
        "seed": seed,
    }
    if local == bool(url or edge_url):
        raise failure("say where: --local, or --url (and --edge-url) of servers that are there", status=2)
    if not local and any(value is not None for value in (workers, edge, redis)):
        raise failure("--workers, --edge and --redis are of a --local stack", status=2)
    if local and (key or publish_url):
        raise failure("--key and --publish-url are of servers that are there; --local has its own", status=2)
    for number, address in enumerate(agent or ()):
        host, _ = host_and_port(address, "--agent")
        if address in (agent or ())[:number]:
            raise failure(f"--agent {address} is given twice; an agent serves one run at a time", status=2)
        if local and not _is_loopback(host):
            raise failure(
                f"--agent {address} is on another host, which a --local stack cannot be reached from", status=2
            )
    check_writable(json_file, "--json")
    check_writable(html_file, "--html")
    check_distinct(**{"--json": json_file, "--html": html_file})
    if key and environments is not None:
        raise failure("--environments says nothing beside --key: there are as many as keys", status=2)
    wanted = Wanted(
        source=scenario,
        short=short,
        overrides={path: value for path, value in given.items() if value is not None},
        local=local,
        urls={name: each for name, each in (("origin", url), ("edge", edge_url)) if each},
        keys=key or [],
        publish_url=publish_url or "",
        token=token,
        processes=processes,
        agents=agent or [],
        agent_token=agent_token,
    )
    raise typer.Exit(made(wanted, json_file, html_file, quiet=quiet))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
