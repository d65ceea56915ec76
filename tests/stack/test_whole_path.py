"""From the API to the client over real processes: with either database, with Redis and without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdk_client import FlagClient
from tests.programs import ADMIN_TOKEN, SSE_TOKEN, Program, publisher, stream_server
from tests.servers import NatsServer, RedisServer

pytestmark = pytest.mark.slow

FEATURE = "banner"


@dataclass
class Installation:
    """The programs of one installation and a way to its API."""

    nats: NatsServer
    redis: RedisServer | None
    publisher: Program
    stream: Program

    async def call(self, method: str, path: str, body: object = None, token: str = f"Bearer {ADMIN_TOKEN}") -> Any:
        async with httpx.AsyncClient(base_url=self.publisher.url, timeout=10) as client:
            response = await client.request(method, path, json=body, headers={"Authorization": token})
        assert response.is_success, response.text
        return response.json()

    async def change(self, key: str, **state: object) -> Any:
        return await self.call("PATCH", f"/api/environments/{key}/features/{FEATURE}", state)

    async def flags(self, key: str, **query: object) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.stream.url, timeout=10) as client:
            params = {name: str(value) for name, value in query.items()}
            return await client.get("/api/v1/flags/", headers={"X-Environment-Key": key}, params=params)

    @asynccontextmanager
    async def client(self, key: str) -> AsyncIterator[FlagClient]:
        async with FlagClient(environment_key=key, api_url=self.stream.url) as client:
            yield client


@pytest.fixture(params=["without Redis", "with Redis"])
def path(
    request: pytest.FixtureRequest, tmp_path: Path, nats_server: NatsServer, database_url: str
) -> Iterator[Installation]:
    redis: RedisServer | None = request.getfixturevalue("redis_server") if request.param == "with Redis" else None
    managing = publisher(tmp_path, nats_url=nats_server.url, database_url=database_url, reconcile_interval=2)
    serving = stream_server(
        tmp_path,
        nats_url=nats_server.url,
        upstream_url=managing.url,
        redis_url="" if redis is None else redis.url,
        redis_timeout=10,  # one that is slower is passed over, and what it should keep is only on disk
        snapshot_dir=tmp_path / "snapshot",
        drain=1,
    )
    yield Installation(nats_server, redis, managing.start(), serving.start())
    for program in (managing, serving):
        if program.process.running:
            program.kill()


async def make_environment(path: Installation) -> str:
    project = await path.call("POST", "/api/projects", {"name": "Shop"})
    base = f"/api/projects/{project['id']}"
    environment = await path.call("POST", f"{base}/environments", {"name": "Production"})
    await path.call("POST", f"{base}/features", {"name": FEATURE, "enabled": True, "value": "a"})
    return str(environment["key"])


async def until_value(client: FlagClient, value: object) -> None:
    async with asyncio.timeout(15):
        while client.value(FEATURE) != value:
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_a_change_reaches_the_client_whatever_was_restarted_before(path: Installation) -> None:
    key = await make_environment(path)
    async with path.client(key) as client:
        await until_value(client, "a")
        state = await path.change(key, value="b")
        await until_value(client, "b")
        assert client.updated_at == state["updated_at"]

        # The broker is away: the change is accepted, and arrives when the broker is back.
        path.nats.kill()
        await path.change(key, value="c")
        await asyncio.to_thread(path.nats.start)
        await until_value(client, "c")

        # The broker has lost its disk: it is told everything again, and versions do not go back.
        path.nats.kill()
        path.nats.wipe()
        await asyncio.to_thread(path.nats.start)
        state = await path.change(key, enabled=False)
        async with asyncio.timeout(15):
            while client.is_enabled(FEATURE):
                await asyncio.sleep(0.01)

        # The publisher is away: documents are still served, by memory or Redis or disk.
        path.publisher.kill()
        await asyncio.to_thread(path.stream.stop)
        await asyncio.to_thread(path.stream.start)
        answer = await path.flags(key)
        assert answer.status_code == 200
        # Redis has the newest one; what only the disk has may be older than is known, and says so.
        assert ("X-Flagstream-Stale" in answer.headers) is (path.redis is None)
        (flag,) = answer.json()
        assert (flag["enabled"], flag["feature_state_value"]) == (False, "c")

        path.publisher.start()
        state = await path.change(key, enabled=True, value="d")
        await until_value(client, "d")
        assert client.updated_at == state["updated_at"]
    if path.redis is not None:
        path.redis.kill()
        await path.change(key, value="e")
        answer = await path.flags(key)
        assert answer.json()[0]["feature_state_value"] == "e", "a dead Redis is passed over"
    for program in (path.publisher, path.stream):
        assert "Traceback" not in program.output()


@pytest.mark.asyncio
async def test_what_flagsmith_announces_is_told_and_the_document_is_never_behind(path: Installation) -> None:
    key = await make_environment(path)
    before = await path.change(key, value="b")
    ahead = before["updated_at"] + 100.25
    announced = await path.call(
        "POST", f"/sse/environments/{key}/queue-change", {"updated_at": ahead}, f"Token {SSE_TOKEN}"
    )
    assert announced is not None
    async with path.client(key) as client, asyncio.timeout(15):
        while (client.updated_at or 0) < ahead - 1e-6:
            await asyncio.sleep(0.01)
        answer = await path.flags(key)
        assert int(answer.headers["X-Flagstream-Version"]) >= client.version
        assert float(answer.headers["X-Flagsmith-Document-Updated-At"]) >= (client.updated_at or 0)
        after = await path.change(key, value="c")
        assert after["updated_at"] > ahead, "our own next change is newer than what came from outside"
        await until_value(client, "c")
