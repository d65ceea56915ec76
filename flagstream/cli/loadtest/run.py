"""`flagstream loadtest run`: a scenario against a stack of its own, or against servers that are there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import typer

from flagstream import logs
from flagstream.cli.failure import failure
from flagstream.cli.loadtest.agent import host_and_port
from flagstream.cli.loadtest.local import LocalStack
from flagstream.cli.loadtest.showing import Enduring, shown
from flagstream.cli.loadtest.writing import STDOUT, check_distinct, check_writable, write_atomically
from loadtest.conductor import Plan, conduct, failed
from loadtest.dividing import most_at_once
from loadtest.generators import GeneratorError
from loadtest.messages import Environment
from loadtest.progress import Progress
from loadtest.provenance import provenance
from loadtest.report.page import written as page
from loadtest.report.summary import summary
from loadtest.results import Results, written
from loadtest.scenario.reading import ScenarioError, read
from loadtest.scenario.schema import Environments, Scenario
from loadtest.stack import Stack, StackError
from loadtest.targets import PreflightError, RemoteStack, Url, preflight, preflight_publishing
from loadtest.verdict import status
from sdk_client.keys import is_client_key

__all__ = ["run"]

OURS_ALONE = {"kill", "stop", "freeze", "deploy"}
"""What can only be done to a stack of our own."""


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
    clients: Annotated[int | None, typer.Option(help="How many clients.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long.")] = None,
    rate: Annotated[float | None, typer.Option(help="Changes a second.")] = None,
    environments: Annotated[int | None, typer.Option(help="How many environments.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of the --local stream server.")] = None,
    edge: Annotated[Edge | None, typer.Option(help="What stands before the --local stream server.")] = None,
    redis: Annotated[
        bool | None, typer.Option("--redis/--no-redis", help="Whether the --local stack has a Redis.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another chance than the scenario's.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Generator processes on each host; else as many as it takes.")
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Have the clients on another host (flagstream loadtest agent)."),
    ] = None,
    agent_token: Annotated[str, typer.Option(envvar="FLAGSTREAM_AGENT_TOKEN", help="The agents' token.")] = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results; - is standard output.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the report.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing while it runs.")] = False,
) -> None:
    """Run a scenario: its clients, its changes, what is done to the servers; then judge by its thresholds.

    Exit status: 0 passed, 1 failed, 2 what was asked for makes no sense, 130 interrupted. Ctrl-C ends a run early and
    reports what was measured, a second one at once.
    """
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
    for address in agent or ():
        host, _ = host_and_port(address, "--agent")
        if local and not _is_loopback(host):
            raise failure(
                f"--agent {address} is on another host, which a --local stack cannot be reached from", status=2
            )
    check_writable(json_file, "--json")
    check_writable(html_file, "--html")
    check_distinct(**{"--json": json_file, "--html": html_file})
    if key and environments is not None:
        raise failure("--environments says nothing beside --key: there are as many as keys", status=2)
    chosen = _with_keys(_read(scenario, given, short=short), key or [])
    stack: LocalStack | RemoteStack
    if local:
        stack = LocalStack(chosen.local, _environments(chosen), clients=most_at_once(chosen))
    else:
        urls = {name: each for name, each in (("origin", url), ("edge", edge_url)) if each}
        stack = _remote(chosen, urls, publish_url or "", token)
    plan = Plan(
        name=Path(scenario).stem,
        scenario=chosen,
        processes=processes,
        agents=agent or (),
        token=agent_token,
        local=local and not agent,
        provenance=provenance(
            ["flagstream", *sys.argv[1:]], stack.settings if isinstance(stack, LocalStack) else stack.urls
        ),
    )
    raise typer.Exit(asyncio.run(_run_and_tell(plan, stack, json_file, html_file, quiet=quiet)))


async def _run_and_tell(
    plan: Plan, stack: LocalStack | RemoteStack, json_file: Path | None, html_file: Path | None, *, quiet: bool
) -> int:
    """Make the run and return the exit status; within the loop, where a Ctrl-C keeps no file from being written."""
    return _told(await _run(plan, stack, quiet=quiet), json_file, html_file)


def _told(found: Results, json_file: Path | None, html_file: Path | None) -> int:
    """Write and print what was found; return the exit status."""
    unwritten = 0
    for path, content in ((json_file, written), (html_file, page)):
        if path is not None:
            try:
                write_atomically(path, content(found))
            except typer.Exit as error:  # it has been said; what there is left to tell is told
                unwritten = error.exit_code
    try:
        Enduring(stderr=STDOUT in {json_file, html_file}, highlight=False).print(summary(found))
    except OSError as error:
        unwritten = failure(f"what was found cannot be printed: {error.strerror or error}").exit_code
    return status(found) or unwritten


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read(source: str, given: dict[str, Any], *, short: bool) -> Scenario:
    overrides = {path: value for path, value in given.items() if value is not None}
    try:
        return read(source, short=short, overrides=overrides)
    except ScenarioError as error:
        raise failure(*error.faults, status=2) from None


def _with_keys(scenario: Scenario, keys: list[str]) -> Scenario:
    """Return the scenario with these environments instead of its own, if there are any."""
    if not keys:
        return scenario
    for each in keys:
        if not is_client_key(each):
            raise failure(f"--key {each} is no client-side key: 1 to 128 letters, digits, - and _", status=2)
    return scenario.model_copy(update={"environments": Environments(keys=tuple(dict.fromkeys(keys)))})


def _environments(scenario: Scenario) -> int:
    return len(scenario.environments.keys) or scenario.environments.count


def _remote(scenario: Scenario, urls: dict[str, str], publish_url: str, token: str) -> RemoteStack:
    """Return servers that are there, if they can be what the scenario needs."""
    faults = []
    for each in (*urls.values(), *([publish_url] if publish_url else ())):
        try:
            Url.read(each)
        except ValueError as error:
            faults.append(str(error))
    if not scenario.environments.keys:
        faults.append("give the client-side key of an environment there with --key, or environments.keys in the file")
    for number, entry in enumerate(scenario.timeline, 1):
        if entry.do in OURS_ALONE:
            faults.append(
                f"entry {number} of the timeline is to {entry.do} {entry.part or 'the stream server'}, which only "
                '--local can; elsewhere write do = "run" with a command of yours'
            )
    for mix in scenario.clients.mix:
        if mix.via != "default" and mix.via not in urls:
            option = "--url" if mix.via == "origin" else "--edge-url"
            faults.append(f"the clients {mix.name} come by the {mix.via}: give {option}")
    if faults:
        raise failure(*faults, status=2)
    keys = [Environment(key=key) for key in scenario.environments.keys]
    return RemoteStack(urls, keys, publish_url, token)


async def _run(plan: Plan, stack: LocalStack | RemoteStack, *, quiet: bool) -> Results:
    progress = Progress(title=plan.scenario.title, seconds=plan.scenario.seconds, clients=most_at_once(plan.scenario))
    interrupts = _Interrupts()
    try:
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(shown(progress, quiet=quiet))
            running: Stack
            if isinstance(stack, RemoteStack):
                await _look_at(stack)
                running = stack
            else:
                running = await exits.enter_async_context(stack)
            interrupts.begun = True
            return await conduct(plan, running, progress, interrupts.stop)
    except (PreflightError, StackError, GeneratorError) as error:
        return failed(plan, str(error))
    except asyncio.CancelledError:
        what = "again: what was measured is given up" if interrupts.begun else "before anything was measured"
        return failed(plan, f"interrupted {what}", interrupted=True)


async def _look_at(stack: RemoteStack) -> None:
    """See that there is what is to be loaded; raises PreflightError."""
    key = stack.environments[0].key
    for url in stack.urls.values():
        await preflight(url, key)
    if stack.publisher_url:
        await preflight_publishing(stack.publisher_url, stack.sse_token, key)


class _Interrupts:
    """Ctrl-C and SIGTERM: the first ends the run with a report, the second gives it up, the third is the end."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.begun = False
        self._given_up = False
        self._task = asyncio.current_task()
        for sig in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sig, self._interrupt)

    def _interrupt(self) -> None:
        if self._given_up:
            os._exit(128 + signal.SIGINT)
        if self.begun and not self.stop.is_set():
            self.stop.set()
            return
        self._given_up = True
        if self._task is not None:
            self._task.cancel()
