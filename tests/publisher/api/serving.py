"""A publisher on a real port in the test's own loop, and a client that is signed in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from flagstream.settings import load
from publisher.app import create_app
from publisher.settings import PublisherSettings
from publisher.store import Store

ADMIN = "admin-token-of-a-test"
SSE = "sse-token-of-a-test"
NOWHERE = "nats://127.0.0.1:1"


def settings_for(database_url: str, **more: Any) -> PublisherSettings:
    given = {"database_url": database_url, "nats_url": (NOWHERE,), "admin_token": ADMIN, "sse_token": SSE, **more}
    return load(PublisherSettings, overrides=given, environ={})


class Api:
    """What a test has in hand: the address, a client with the admin token, and the application behind both."""

    def __init__(self, url: str, client: httpx.AsyncClient, app: Starlette) -> None:
        self.url = url
        self.client = client
        self.app = app

    @property
    def store(self) -> Store:
        store: Store = self.app.state.store
        return store

    async def __call__(self, method: str, path: str, status: int, **more: Any) -> httpx.Response:
        """Ask, and check the status."""
        response = await self.client.request(method, path, **more)
        assert response.status_code == status, response.text
        return response

    async def project(self, name: str = "shop") -> int:
        number: int = (await self("POST", "/api/projects", 201, json={"name": name})).json()["id"]
        return number

    async def environment(self, project: int, key: str, name: str | None = None) -> dict[str, Any]:
        body = {"name": name or key, "key": key}
        made: dict[str, Any] = (await self("POST", f"/api/projects/{project}/environments", 201, json=body)).json()
        return made

    async def feature(self, project: int, name: str, **more: Any) -> dict[str, Any]:
        body = {"name": name, **more}
        made: dict[str, Any] = (await self("POST", f"/api/projects/{project}/features", 201, json=body)).json()
        return made

    async def demo(self, *keys: str) -> int:
        """Make a project with environments `keys` (default: dev) and the feature ``checkout``, on with "a"."""
        project = await self.project()
        for key in keys or ("dev",):
            await self.environment(project, key)
        await self.feature(project, "checkout", enabled=True, value="a")
        return project

    async def everything(self) -> dict[str, Any]:
        """Return all that could have been changed by a request that should have been refused."""
        found: dict[str, Any] = {
            path: (await self("GET", path, 200)).json()
            for path in ("/api/projects", "/api/changes", "/api/tokens", "/api/projects/1/features")
        }
        for each in (await self("GET", "/api/projects/1/environments", 200)).json()["items"]:
            found[each["key"]] = (await self("GET", f"/api/environments/{each['key']}/features", 200)).json()
            found[f"{each['key']} itself"] = each
        return found


class Server(uvicorn.Server):
    """uvicorn's server, stopped by an event at once instead of at its next look, with pytest's signals left alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(settings: PublisherSettings) -> AsyncIterator[Api]:
    app = create_app(settings)
    server = Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="on", server_header=False))
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0.005)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=20) as client:
        try:
            yield Api(url, client, app)
        finally:
            await client.aclose()
            server.stopping.set()
            await task
