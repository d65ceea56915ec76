"""The embedded stack: a real nats-server, the publisher on SQLite, the stream server, an edge and a Redis if wanted.

Each is a process of its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from flagstream.cli.brokers import nats_command, redis_command
from flagstream.cli.child import Child
from flagstream.cli.data_folder import DataFolder
from flagstream.cli.embedded_edge import AT_ONCE, LONGEST_DRAIN, EmbeddedEdge
from flagstream.cli.ports import HOST
from flagstream.cli.readiness import answers, nats_greets, redis_answers
from flagstream.cli.surroundings import Surroundings
from flagstream.logs import get_logger

__all__ = ["Ports", "Stack"]

log = get_logger(__name__)

READY_WITHIN = 60.0
"""Seconds for all three to report ready; a busy machine starts Python slowly."""

STOP_WITHIN = 1.4
"""Seconds for the programs to stop by themselves; the whole stop stays under two."""

POLL = 0.05


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the programs on 127.0.0.1; without one for them there is no `edge` and no `redis`."""

    publisher: int
    stream: int
    nats: int
    edge: int | None = None
    redis: int | None = None


class Stack:
    """Starts the programs in order, keeps them running, stops them in the opposite order.

    An edge is reported on if `edge_report`. With `cuts` a stop ends streams at once, as it does with an edge.
    """

    def __init__(
        self,
        folder: DataFolder,
        ports: Ports,
        workers: int,
        surroundings: Surroundings | None = None,
        *,
        edge_report: bool = True,
        cuts: bool = False,
    ) -> None:
        around = surroundings or Surroundings()
        self._folder = folder
        self._environ = around.environ
        self.admin_token, self.sse_token = folder.tokens()
        self.publisher_url = f"http://{HOST}:{ports.publisher}"
        self.stream_url = f"http://{HOST}:{ports.stream}"
        self.nats_url = f"nats://{HOST}:{ports.nats}"
        self._ports = ports
        self.edge = (
            None
            if ports.edge is None
            else EmbeddedEdge(
                folder.path,
                ports.edge,
                around,
                stream_url=self.stream_url,
                nats_url=self.nats_url,
                reported=edge_report,
            )
        )
        self.nats = around.child("nats-server", nats_command(folder, ports.nats), self._environ)
        self.redis = (
            None if ports.redis is None else around.child("redis", redis_command(folder, ports.redis), self._environ)
        )
        self.publisher = around.child("publisher", _program("manage"), self._publisher_env())
        stops = AT_ONCE if cuts or self.edge is not None else (signal.SIGTERM,)
        self.stream_server = around.child(
            "stream_server", _program("serve"), self._stream_server_env(workers), stops=stops
        )
        self.restarted = asyncio.Event()

    def _publisher_env(self) -> dict[str, str]:
        return {
            # What the user set for the embedded stack stays; what makes it this stack does not.
            "PUBLISHER_DATABASE_URL": f"sqlite:///{self._folder.path / 'flagstream.db'}",
            "PUBLISHER_DRAIN": "0.5",
            **({"PUBLISHER_PURGE_URLS": self.edge.url} if self.edge is not None and self.edge.purged else {}),
            **self._environ,
            "PUBLISHER_HOST": HOST,
            "PUBLISHER_PORT": str(self._ports.publisher),
            "PUBLISHER_NATS_URL": self.nats_url,
            "PUBLISHER_ADMIN_TOKEN": self.admin_token,
            "PUBLISHER_SSE_TOKEN": self.sse_token,
            "PUBLISHER_PUBLIC_STREAM_URL": self.stream_url if self.edge is None else self.edge.url,
        }

    def _stream_server_env(self, workers: int) -> dict[str, str]:
        return {
            "STREAM_SERVER_SNAPSHOT_DIR": str(self._folder.path / "snapshot"),
            "STREAM_SERVER_DRAIN": "0.5" if self.edge is None else str(LONGEST_DRAIN),
            **self._environ,
            "STREAM_SERVER_HOST": HOST,
            "STREAM_SERVER_PORT": str(self._ports.stream),
            "STREAM_SERVER_WORKERS": str(workers),
            "STREAM_SERVER_NATS_URL": self.nats_url,
            "STREAM_SERVER_UPSTREAM_URL": self.publisher_url,
            **({} if self.edge is None else {"STREAM_SERVER_EDGE": "true"}),
            **({} if self.redis is None else {"STREAM_SERVER_REDIS_URL": f"redis://{HOST}:{self._ports.redis}"}),
        }

    @property
    def _edge_children(self) -> tuple[Child, ...]:
        if self.edge is None:
            return ()
        report = () if self.edge.report is None else (self.edge.report,)
        return self.edge.waiting_room, self.edge.varnish, *report

    @property
    def _brokers(self) -> tuple[Child, ...]:
        return (self.nats,) if self.redis is None else (self.nats, self.redis)

    @property
    def _children(self) -> tuple[Child, ...]:
        return *self._brokers, self.publisher, self.stream_server, *self._edge_children

    async def start(self) -> None:
        """Start all and wait until each reports ready; raises `ChildFailedError` or TimeoutError."""
        async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient(timeout=2) as client:
            for broker in self._brokers:
                await broker.start()
            await self._until(partial(nats_greets, self._ports.nats))
            if self._ports.redis is not None:
                await self._until(partial(redis_answers, self._ports.redis))
            await self.publisher.start()
            await self.stream_server.start()
            if self.edge is not None:
                await self.edge.waiting_room.start()
                await self.edge.varnish.start()
            for url in (self.publisher_url, self.stream_url, *(() if self.edge is None else (self.edge.url,))):
                await self._until(partial(answers, client, f"{url}/health/readiness"))
            if self.edge is not None and self.edge.report is not None:
                await self.edge.report.start()

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        while not await condition():
            for child in self._children:
                child.check()
            await asyncio.sleep(POLL)

    async def keep_running(self) -> None:
        """Restart what dies, for ever."""
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(child.keep_running(self.restarted))

    async def stop(self) -> None:
        """Stop the programs, then the brokers that they use."""
        async with asyncio.TaskGroup() as group:
            for child in (self.publisher, self.stream_server, *self._edge_children):
                group.create_task(child.stop(STOP_WITHIN))
        for broker in self._brokers:
            await broker.stop(STOP_WITHIN / 4)

    def kill(self) -> None:
        """End everything at once."""
        for child in self._children:
            child.kill()

    def pids(self) -> dict[str, list[int]]:
        """Return the processes of each program."""
        return {child.name if child is not self.nats else "nats": child.pids for child in self._children}

    def deaths(self) -> list[tuple[str, int]]:
        """Return which programs ended by themselves, and with which status, in the order in which they did."""
        found = sorted((at, child.name, status) for child in self._children for at, status in child.deaths)
        return [(name, status) for _, name, status in found]

    def described(self, demo: dict[str, str] | None) -> dict[str, Any]:
        """Return what `flagstream up --json` prints."""
        return {
            "publisher": self.publisher_url,
            "stream": self.stream_url,
            "nats": self.nats_url,
            **({} if self.edge is None else {"edge": self.edge.url}),
            "admin_token": self.admin_token,
            "sse_token": self.sse_token,
            "environment": demo,
            "pids": self.pids(),
        }


def _program(command: str) -> list[str]:
    return [sys.executable, "-m", "flagstream", command]
