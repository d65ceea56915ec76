"""The client against the real path: management API, broker, stream server, each a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sdk_client import Backoff, FlagClient
from sdk_client.versions import seconds_of
from tests.programs import ADMIN_TOKEN, Program, publisher, stream_server
from tests.servers import NatsServer

pytestmark = pytest.mark.slow


class Stack:
    """One change's path, in an environment of its own: `change` answers what the management API answered."""

    def __init__(self, management: Program, streams: Program, project: str) -> None:
        self.management = management
        self.streams = streams
        self._http = httpx.Client(headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, timeout=10)
        self.key, self.server_key = self._seed(project)

    def _seed(self, name: str) -> tuple[str, str]:
        project = self.post("/api/projects", {"name": name})
        environment = self.post(f"/api/projects/{project['id']}/environments", {"name": "e"})
        self.post(f"/api/projects/{project['id']}/features", {"name": "banner"})
        return environment["key"], environment["server_key"]

    def post(self, path: str, body: object) -> Any:
        response = self._http.post(f"{self.management.url}{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    def change(self, **change: object) -> Any:
        url = f"{self.management.url}/api/environments/{self.key}/features/banner"
        response = self._http.patch(url, json=change)
        assert response.is_success, response.text
        return response.json()

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Program]]:
    folder = tmp_path_factory.mktemp("path")
    broker = NatsServer(folder).start()
    management = publisher(folder, nats_url=broker.url, database_url=f"sqlite:///{folder}/db", workers=1).start()
    streams = stream_server(
        folder,
        nats_url=broker.url,
        upstream_url=management.url,
        lifetime=3,
        join_window=0.5,
        heartbeat=1,
        drain=1,
    ).start()
    yield management, streams
    for program in (streams, management, broker):
        program.kill()


@pytest.fixture
def path(servers: tuple[Program, Program], request: pytest.FixtureRequest) -> Iterator[Stack]:
    whole = Stack(*servers, project=request.node.name[:40])
    yield whole
    whole.close()


async def until_value(client: FlagClient, value: object, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while client.value("banner") != value:
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_changes_arrive_at_their_own_version_with_either_key_and_over_many_streams(path: Stack) -> None:
    server_side = FlagClient(environment_key=path.server_key, api_url=path.streams.url, heartbeat=1)
    client_side = FlagClient(environment_key=path.key, api_url=path.streams.url, heartbeat=1)
    async with server_side, client_side:
        changes = client_side.changes()
        number = 0
        async with asyncio.timeout(60):
            while min(server_side.counts.streams_opened, client_side.counts.streams_opened) < 2:
                number += 1
                state = await asyncio.to_thread(path.change, value=f"v{number}", enabled=True)
                change = await anext(changes)
                assert change.value == f"v{number}"
                assert seconds_of(change.version) == state["updated_at"]
                await until_value(server_side, f"v{number}")
                await asyncio.sleep(0.3)
        for client in (server_side, client_side):
            assert client.counts.stream_errors == 0, "a stream that reached its end is no error"
            assert client.counts.fetch_errors == 0
            assert client.counts.fetches <= number + 2, "one for each change"


@pytest.mark.asyncio
async def test_what_changed_while_the_stream_server_was_dead_is_there_when_it_is_back(path: Stack) -> None:
    quick = Backoff(base=0.1, cap=0.5, least=0.1)
    async with FlagClient(environment_key=path.key, api_url=path.streams.url, heartbeat=1, backoff=quick) as client:
        for number in range(2):
            async with asyncio.timeout(30):
                while not client.connected:
                    await asyncio.sleep(0.01)
            path.streams.kill()
            state = await asyncio.to_thread(path.change, value=f"while dead {number}", enabled=True)
            await asyncio.to_thread(path.streams.start)
            await until_value(client, f"while dead {number}")
            assert client.updated_at == state["updated_at"]
        assert client.counts.stream_errors >= 2
