"""Hundreds of bare clients that reconnect for ever and write down what they hold since when, for a judge afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from publisher.messages import version_of

__all__ = ["Client", "Swarm"]

DATA = b"data: "


@dataclass
class Client:
    """One client of one environment; `held` has each version that it took over, and when (time.monotonic())."""

    key: str
    reuses: bool
    """Whether it asks for its next stream on the connection of the last, where that is kept open."""
    held: list[tuple[float, int]] = field(default_factory=list)
    connects: int = 0
    instant_ends: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """Return the version that it holds."""
        return self.held[-1][1] if self.held else 0

    def lag(self, version: int, announced: float) -> float:
        """Return how many seconds after `announced` it held `version` or a newer one; infinite if it never did."""
        return next((at - announced for at, held in self.held if held >= version), float("inf"))

    def note(self, line: bytes) -> None:
        """Take over what one line of a stream says, if it is newer."""
        if line.startswith(DATA):
            version = version_of(json.loads(line.removeprefix(DATA))["updated_at"])
            if version > self.newest:
                self.held.append((time.monotonic(), version))


class Swarm:
    """`each` clients of every key; `port` is asked before each new connection, as a load balancer would be."""

    def __init__(self, keys: Sequence[str], each: int, port: Callable[[], int]) -> None:
        self.clients = [Client(key, reuses=number % 2 == 0) for key in keys for number in range(each)]
        self._port = port

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._running = [self._tasks.create_task(self._run(each)) for each in self.clients]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def faults(self) -> list[str]:
        """Return what went wrong for anybody: resets, refusals, cuts, statuses other than 200."""
        return [fault for each in self.clients for fault in each.faults]

    async def _run(self, client: Client) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port())
            except OSError as error:
                client.faults.append(f"connect: {error!r}")
                await asyncio.sleep(0.5)
                continue
            try:
                while await self._stream(client, reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                client.faults.append(f"stream: {error!r}")
                await asyncio.sleep(0.5)
            finally:
                writer.close()

    async def _stream(self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one stream to its clean end; tell whether the connection may be used again."""
        client.connects += 1
        began = time.monotonic()
        writer.write(b"GET /sse/environments/%s/stream HTTP/1.1\r\nHost: edge\r\n\r\n" % client.key.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200") or b"transfer-encoding: chunked" not in head:
            raise ValueError(head)
        rest = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            *lines, rest = (rest + (await reader.readexactly(size + 2))[:-2]).split(b"\n")
            for line in lines:
                client.note(line)
        await reader.readexactly(2)
        if time.monotonic() - began < 0.5:
            client.instant_ends += 1
        return client.reuses and b"connection: close" not in head
