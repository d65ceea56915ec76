"""An upstream that answers as it is told: a real HTTP server, so that what fails fails as in production."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flagstream.settings import load
from publisher.messages import now
from stream_server.documents import Documents
from stream_server.settings import StreamServerSettings
from stream_server.versions import SharedVersions

CLIENT_KEY = "client-key"
SERVER_KEY = "ser.server-key"
NOW = now()


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[int]:
    """Run an ASGI application on 127.0.0.1; the value is its port."""
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    # Start and stop by hand: its own loop looks only ten times a second whether it should stop.
    server.lifespan = config.lifespan_class(config)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        for each in server.servers:
            each.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        async with asyncio.timeout(30):
            while server.server_state.connections or server.server_state.tasks:
                await asyncio.sleep(0.002)
        listener.close()


@dataclass
class Upstream:
    """What the upstream says next, and what it was asked."""

    version: int = NOW
    value: object = "a"
    status: int = 200
    raw: bytes | None = None
    labelled: bool = True
    environment: str = CLIENT_KEY
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    delay: Callable[[], float] = lambda: 0.0
    port: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/api/v1/{path:path}", self.answer, methods=["GET", "POST"])])

    async def answer(self, request: Request) -> Response:
        # What it says is settled when the question arrives, as a database read would be.
        status, raw, headers = self.status, self.raw, dict(self.headers)
        document = self.document(request.path_params["path"])
        if status == 200 and self.labelled:
            headers["X-Flagstream-Version"] = str(self.version)
            headers["X-Flagstream-Environment"] = self.environment
        self.asked.append(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
        self.keys.append(request.headers["X-Environment-Key"])
        if request.method == "POST":
            self.bodies.append(await request.json())
        gate, delay = self.gate, self.delay()
        self.arrived.release()
        await gate.wait()
        await asyncio.sleep(delay)
        if raw is not None:
            return Response(raw, status, headers)
        content = document if status == 200 else {"detail": "Invalid or missing Environment key"}
        return Response(json.dumps(content), status, headers, media_type="application/json")

    def document(self, path: str) -> object:
        flags = [
            {
                "feature": {"id": 1, "name": "f", "type": "STANDARD"},
                "enabled": True,
                "feature_state_value": self.value,
                "featurestate_uuid": "5c9d4d8c-3a5e-4a27-a9a5-0c6d8f4b7a11",
                "multivariate_feature_state_values": [],
            }
        ]
        match path.strip("/"):
            case "environment-document":
                return {
                    "api_key": self.environment,
                    "name": "dev",
                    "updated_at": "2026-01-01T00:00:00.000001+00:00",
                    "project": {"segments": []},
                    "feature_states": flags,
                }
            case "identities":
                return {"identifier": "u", "flags": flags, "traits": []}
            case "analytics/flags":
                return {}
        return flags

    def hold(self) -> asyncio.Event:
        """Let requests wait that arrive from now on; the value lets them go."""
        self.gate = asyncio.Event()
        return self.gate


@dataclass
class Setup:
    """Documents of one process over an upstream."""

    client: httpx.AsyncClient
    upstream: Upstream
    versions: SharedVersions
    registry: CollectorRegistry
    documents: Documents
    app: Starlette

    async def flags(self, query: str = "", key: str = CLIENT_KEY, **headers: str) -> httpx.Response:
        return await self.client.get(f"/api/v1/flags/{query}", headers={"X-Environment-Key": key, **headers})

    def count(self, outcome: str, document: str = "flags") -> float:
        labels = {"document": document, "outcome": outcome}
        return self.registry.get_sample_value("flagstream_documents_total", labels) or 0.0

    def sample(self, name: str) -> float:
        return self.registry.get_sample_value(f"flagstream_{name}") or 0.0


def value(response: httpx.Response) -> object:
    assert response.status_code == 200, response.text
    return response.json()[0]["feature_state_value"]


def version(response: httpx.Response) -> int:
    assert response.status_code == 200, response.text
    return int(response.headers["X-Flagstream-Version"])


def is_stale(response: httpx.Response) -> bool:
    return bool(response.headers.get("X-Flagstream-Stale") == "1")


@asynccontextmanager
async def documents(
    upstream: Upstream, versions: SharedVersions | None = None, **settings: object
) -> AsyncIterator[Setup]:
    """Serve documents as the stream server would."""
    loaded = load(StreamServerSettings, overrides={"upstream_url": upstream.url, **settings}, environ={})
    registry = CollectorRegistry()
    versions = versions or SharedVersions(None, 1024, 1, 0)
    served = Documents(loaded, versions, registry)
    for key, saved in served.saved_versions().items():
        versions.advance(key, saved)
    await served.start()
    app = Starlette(routes=served.routes())
    app.router.redirect_slashes = False
    try:
        transport = httpx.ASGITransport(app)
        # No TLS is spoken, and reading certificates takes a tenth of a second a test.
        base = "http://stream"
        async with httpx.AsyncClient(transport=transport, base_url=base, timeout=20, verify=False) as client:  # noqa: S501 - see above
            yield Setup(client, upstream, versions, registry, served, app)
    finally:
        await served.stop()
