"""Clients that write down what they were told, for a judge to hold against what was promised."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from dataclasses import dataclass, field
from fractions import Fraction

import httpx

MICROSECONDS = 1_000_000


def version_of(updated_at: float) -> int:
    return round(Fraction(updated_at) * MICROSECONDS)


@dataclass
class StreamListener:
    """A bare reader of one environment's stream: reconnects for ever and keeps every version by connection."""

    url: str
    key: str
    connections: list[list[int]] = field(default_factory=list)
    newest: int = 0

    async def run(self) -> None:
        path = f"{self.url}/sse/environments/{self.key}/stream"
        async with httpx.AsyncClient(timeout=httpx.Timeout(5, read=60)) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    async with client.stream("GET", path) as response:
                        assert response.status_code == httpx.codes.OK
                        told: list[int] = []
                        self.connections.append(told)
                        await self._read(response, told)
                await asyncio.sleep(0.2)

    async def _read(self, response: httpx.Response, told: list[int]) -> None:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                version = version_of(json.loads(line.removeprefix("data: "))["updated_at"])
                told.append(version)
                self.newest = max(self.newest, version)

    def steps_back(self) -> list[tuple[int, int]]:
        """Return pairs of consecutive versions of one connection that did not grow."""
        return [
            (before, after)
            for told in self.connections
            for before, after in itertools.pairwise(told)
            if after <= before
        ]
