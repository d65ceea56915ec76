"""Making the run that was asked for: the scenario, what it is played against, and what is written in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from flagstream.cli.failure import failure
from flagstream.cli.loadtest.local import LocalStack
from flagstream.cli.loadtest.showing import Enduring, shown
from flagstream.cli.loadtest.source_ports import check_ports
from flagstream.cli.loadtest.writing import STDOUT, write_atomically
from loadtest.commission import Plan, failed
from loadtest.conductor import conduct
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
from loadtest.scenario.thresholds import told_by_servers
from loadtest.stack import Stack, StackError
from loadtest.targets import PreflightError, RemoteStack, Url, preflight, preflight_publishing
from loadtest.verdict import status
from sdk_client.keys import is_client_key

__all__ = ["Wanted", "made"]

OURS_ALONE = {"kill", "stop", "freeze", "deploy"}
"""What can only be done to a stack of our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for; `urls` by ``origin`` and ``edge``, none for a stack of our own (`local`)."""

    source: str
    short: bool
    overrides: Mapping[str, Any]
    local: bool
    urls: Mapping[str, str]
    keys: Sequence[str]
    publish_url: str
    token: str
    processes: int | None
    agents: Sequence[str]
    agent_token: str


def made(wanted: Wanted, json_file: Path | None, html_file: Path | None, *, quiet: bool) -> int:
    """Make the run, write and print what was found, and return the exit status."""
    scenario = _with_keys(_read(wanted), wanted.keys)
    stack: LocalStack | RemoteStack
    if wanted.local:
        stack = LocalStack(scenario.local, _environments(scenario), clients=most_at_once(scenario))
    else:
        stack = _remote(scenario, wanted)
    plan = Plan(
        name=Path(wanted.source).stem,
        scenario=scenario,
        processes=wanted.processes,
        agents=wanted.agents,
        token=wanted.agent_token,
        local=wanted.local and not wanted.agents,
        provenance=provenance(
            ["flagstream", *sys.argv[1:]], stack.settings if isinstance(stack, LocalStack) else stack.urls
        ),
    )
    return asyncio.run(_run_and_tell(plan, stack, json_file, html_file, quiet=quiet))


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


def _read(wanted: Wanted) -> Scenario:
    try:
        return read(wanted.source, short=wanted.short, overrides=wanted.overrides)
    except ScenarioError as error:
        raise failure(*error.faults, status=2) from None


def _with_keys(scenario: Scenario, keys: Sequence[str]) -> Scenario:
    """Return the scenario with these environments instead of its own, if there are any."""
    if not keys:
        return scenario
    for each in keys:
        if not is_client_key(each):
            raise failure(f"--key {each} is no client-side key: 1 to 128 letters, digits, - and _", status=2)
    return scenario.model_copy(update={"environments": Environments(keys=tuple(dict.fromkeys(keys)))})


def _environments(scenario: Scenario) -> int:
    return len(scenario.environments.keys) or scenario.environments.count


def _remote(scenario: Scenario, wanted: Wanted) -> RemoteStack:
    """Return servers that are there, if they can be what the scenario needs."""
    faults = []
    urls, publish_url = wanted.urls, wanted.publish_url
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
    faults += [
        f"{figure} is known of a --local stack only: take the threshold out of a copy of the scenario"
        for figure in told_by_servers(scenario)
    ]
    if faults:
        raise failure(*faults, status=2)
    keys = [Environment(key=key) for key in scenario.environments.keys]
    return RemoteStack(urls, keys, publish_url, wanted.token)


async def _run(plan: Plan, stack: LocalStack | RemoteStack, *, quiet: bool) -> Results:
    progress = Progress(title=plan.scenario.title, seconds=plan.scenario.seconds, clients=most_at_once(plan.scenario))
    interrupts = _Interrupts()
    try:
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(shown(progress, quiet=quiet))
            running: Stack
            if isinstance(stack, RemoteStack):
                await _look_at(stack)
                if not plan.agents:
                    await check_ports(plan.scenario, stack.urls)
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
    """Ctrl-C, SIGTERM, a closed terminal: the first ends the run with a report, the second without, the third now."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.begun = False
        self._given_up = False
        self._task = asyncio.current_task()
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if sig == signal.SIGHUP and signal.getsignal(sig) is signal.SIG_IGN:  # by nohup
                continue  # a script's shell ignores SIGINT for what it starts with &: that is heard all the same
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
