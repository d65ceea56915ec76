"""The stack that ``--local`` brings up for a load test, on free ports, and that it may hurt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from flagstream.cli.child import ChildFailedError
from flagstream.cli.data_folder import open_folder
from flagstream.cli.failure import failure
from flagstream.cli.loadtest.local_environments import make_environments
from flagstream.cli.loadtest.local_figures import LocalFigures
from flagstream.cli.loadtest.local_hurting import Hurting
from flagstream.cli.loadtest.local_parts import Parts
from flagstream.cli.loadtest.local_processes import Processes
from flagstream.cli.loadtest.local_settings import drain_of, environ_of
from flagstream.cli.ports import free_port
from flagstream.cli.stack import Ports, Stack
from flagstream.cli.surroundings import Surroundings
from flagstream.endings import ending
from flagstream.settings import SettingsError
from flagstream.temporary import temporary_folder
from loadtest.messages import Environment
from loadtest.scenario.schema import Local
from loadtest.stack import Figures, StackError

__all__ = ["LocalStack"]

PREFIX: Final = "flagstream-loadtest-"
"""What the name of a stack's temporary folder begins with."""

SHOWN: Final = 2000
"""Characters of what a program said that are shown when it failed."""

ROOM: Final = 1 << 20
"""Bytes of a file system below which that is why programs fail."""


class LocalStack:
    """A `loadtest.stack.Stack` of real programs, from ``async with`` on; what dies is started again.

    `clients` is how many may come through the edge at once. Data and what the programs say is kept in `folder`, or in a
    temporary one that goes with the stack. Only the scenario's settings apply, not those of whoever starts the run.
    Faults in them end the command with status 2 (`typer.Exit`) before anything is started.
    """

    def __init__(self, local: Local, environments: int, folder: Path | None = None, *, clients: int = 10_000) -> None:
        if sys.platform != "linux":
            raise failure("--local needs Linux: processes are held by their descriptors", status=2)
        self._local = local
        self._count = environments
        self._folder = folder
        try:
            self._environ = environ_of(local, os.environ, clients=clients, environments=environments)
            self._drain = drain_of(self._environ)
        except SettingsError as error:
            raise failure(*error.faults, status=2) from None
        self._environments: list[Environment] = []

    async def __aenter__(self) -> Self:
        """Start everything; raises StackError with what a program said that failed."""
        async with AsyncExitStack() as stack:
            folder = self._folder
            if folder is None:
                folder = stack.enter_context(temporary_folder(PREFIX))
            await self._start(stack, folder)
            self._running = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Stop everything."""
        await self._running.aclose()

    async def _start(self, exits: AsyncExitStack, folder: Path) -> None:
        data = open_folder(folder)
        exits.callback(data.close)
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self._stack = Stack(
            data,
            Ports(
                publisher=free_port(),
                stream=free_port(),
                nats=free_port(),
                edge=free_port() if self._local.edge != "none" else None,
                redis=free_port() if self._local.redis else None,
            ),
            self._local.workers,
            Surroundings(
                # What is killed leaves its temporary files behind.
                environ={**self._environ, "TMPDIR": str(temporary)},
                logs=folder,
                # A drain would go on without us.
                orphaned=signal.SIGKILL,
            ),
            edge_report=False,
            cuts=True,
        )
        exits.push_async_callback(_ended, self._stack)
        try:
            await self._bring_up()
        except BaseException:
            self._stack.kill()  # what has only begun to start may not yet hear that it is to stop
            raise
        self._hurting = Hurting(Parts(self._stack, self._local.workers), self._drain)
        self._figures = await exits.enter_async_context(LocalFigures(self._stack))
        exits.push_async_callback(_cancelled, asyncio.create_task(self._stack.keep_running(), name="local stack"))

    async def _bring_up(self) -> None:
        try:
            await self._stack.start()
            self._environments = await make_environments(self.publisher_url, self.admin_token, self._count)
        except ChildFailedError as error:
            raise StackError(f"{error.name} {ending(error.status)} before it was ready; {_words(error)}") from None
        except TimeoutError:
            raise StackError("the programs of the stack did not become ready in time; is the machine busy?") from None
        except httpx.HTTPError as error:
            raise StackError(f"the environments of the stack could not be made: {error!r}") from None

    @property
    def urls(self) -> Mapping[str, str]:
        """Where streams are asked for: ``origin``, and ``edge`` where there is one."""
        edge = self._stack.edge
        return {"origin": self._stack.stream_url, **({} if edge is None else {"edge": edge.url})}

    @property
    def publisher_url(self) -> str:
        """Where queue-change is posted."""
        return self._stack.publisher_url

    @property
    def sse_token(self) -> str:
        """The token for it."""
        return self._stack.sse_token

    @property
    def admin_token(self) -> str:
        """The token of the management API."""
        return self._stack.admin_token

    @property
    def environments(self) -> Sequence[Environment]:
        """The environments, each with three flags."""
        return self._environments

    @property
    def settings(self) -> Mapping[str, str]:
        """The variables that the stream server and an edge were started with, for the report."""
        return {name: value for name, value in self._environ.items() if name.startswith(("STREAM_SERVER_", "CDN_"))}

    def pids(self) -> Mapping[str, Sequence[int]]:
        """Return the processes of each program, as they are now."""
        return self._stack.pids()

    def troubles(self) -> Sequence[str]:
        """Return which programs have ended although nothing of the scenario ended them, workers excepted."""
        return [f"{name} {ending(status)} by itself, and was started again" for name, status in self._stack.deaths()]

    async def figures(self) -> Figures:
        """Return what the servers say, see `LocalFigures`; costs some milliseconds of CPU, most of it at the server."""
        return await self._figures.read()

    async def kill(self, part: str, down: float) -> None:
        """End a part by SIGKILL, see `Hurting.kill`."""
        await self._hurting.kill(part, down)

    async def stop(self, part: str, down: float) -> None:
        """End a part by SIGTERM, see `Hurting.stop`."""
        await self._hurting.stop(part, down)

    async def freeze(self, part: str, seconds: float) -> None:
        """Stop the processes of a part for `seconds` (SIGSTOP, SIGCONT)."""
        await self._hurting.freeze(part, seconds)

    async def deploy(self) -> None:
        """Replace the workers of the stream server in place (SIGHUP), see `Hurting.deploy`."""
        await self._hurting.deploy()


async def _ended(stack: Stack) -> None:
    """Stop everything and wait until no process of it is left."""
    with Processes(pid for pids in stack.pids().values() for pid in pids) as processes:
        await stack.stop()
        processes.tell(signal.SIGKILL)
        await processes.ended()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _words(error: ChildFailedError) -> str:
    """Return what a program said that failed."""
    if error.log is None:
        return "its own message is above"
    if said := error.log.read_text(errors="replace")[-SHOWN:].strip():
        return f"it said:\n{said}"
    free = shutil.disk_usage(error.log.parent).free
    return "it said nothing" + ("" if free > ROOM else f", and {error.log.parent} has no room left: set TMPDIR")
