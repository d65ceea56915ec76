"""A whole installation that is killed piece by piece: NATS, publishers, a stream server, each a real process."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from publisher.messages import now, version_of
from tests.programs import ADMIN_TOKEN, SSE_TOKEN, Program, publisher, stream_server
from tests.servers import NatsServer

KINDS = ("publisher", "nats", "stream_server")


@dataclass
class World:
    """The processes, and how they are killed; every choice comes from `chance`."""

    chance: random.Random
    nats: NatsServer
    publishers: list[Program]
    streams: Program
    wipes_disk: bool = False
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    wipes: int = 0

    @classmethod
    def start(
        cls,
        folder: Path,
        nats: NatsServer,
        database_url: str,
        chance: random.Random,
        *,
        publishers: int,
        wipes_disk: bool,
    ) -> World:
        settings: dict[str, Any] = {"nats_url": nats.url, "database_url": database_url, "reconcile_interval": 5}
        managing = [publisher(folder, name=f"publisher-{number}", **settings) for number in range(publishers)]
        for each in managing:
            each.start()
        streams = stream_server(
            folder,
            nats_url=nats.url,
            upstream_url=managing[0].url,
            lifetime=6,
            join_window=2,
            snapshot_dir=folder / "snapshot",
            drain=1,
        )
        return cls(chance, nats, managing, streams.start(), wipes_disk)

    async def kill(self, kind: str) -> None:
        """kill -9 one process of a kind and start it again a moment later, ready or not."""
        self.kills[kind] += 1
        down = self.chance.uniform(0, 1)
        if kind == "nats":
            self.nats.kill()
            if self.wipes_disk and (self.wipes == 0 or self.chance.random() < 0.5):
                self.nats.wipe()
                self.wipes += 1
            await asyncio.sleep(down)
            await asyncio.to_thread(self.nats.start)
            return
        victim = self.streams if kind == "stream_server" else self.chance.choice(self.publishers)
        victim.kill()
        await asyncio.sleep(down)
        victim.start(ready=False)

    def stop(self) -> None:
        for program in (*self.publishers, self.streams):
            if program.process.running:
                program.kill()


@dataclass
class Accepted:
    """What one environment's writer was promised: every version answered with a 2xx, and the value written last."""

    key: str
    is_foreign: bool = False
    versions: list[int] = field(default_factory=list)
    value: int = 0


class Writer:
    """Writes through whichever publisher answers, and repeats each change until one has accepted it."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        self._world = world
        self._client = client

    async def request(self, method: str, path: str, body: object, token: str = f"Bearer {ADMIN_TOKEN}") -> Any:
        """Repeat until a 2xx; a publisher that is down or starting is not an answer, anything else is a failure."""
        while True:
            url = self._world.chance.choice(self._world.publishers).url
            try:
                response = await self._client.request(method, url + path, json=body, headers={"Authorization": token})
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            assert response.status_code < 300, (response.status_code, response.text)
            return response.json()

    async def change(self, accepted: Accepted, feature: str) -> None:
        """Make one change of an own environment, or announce one of a foreign environment."""
        accepted.value += 1
        if accepted.is_foreign:
            version = max(now(), accepted.versions[-1] + 1 if accepted.versions else 0)
            path = f"/sse/environments/{accepted.key}/queue-change"
            await self.request("POST", path, {"updated_at": version / 1e6}, f"Token {SSE_TOKEN}")
            accepted.versions.append(version_of(version / 1e6))
            return
        path = f"/api/environments/{accepted.key}/features/{feature}"
        state = await self.request("PATCH", path, {"value": accepted.value})
        assert state["value"] == accepted.value
        accepted.versions.append(version_of(state["updated_at"]))
