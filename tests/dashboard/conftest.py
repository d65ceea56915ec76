"""A real publisher, stream server and NATS behind a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page

from tests.programs import ADMIN_TOKEN, Program, publisher, stream_server
from tests.servers import NatsServer


@dataclass(frozen=True)
class Project:
    """A project made for one test; `keys` are its environments' keys by name."""

    id: int
    url: str
    keys: dict[str, str]


class Site:
    """The programs, and the API as somebody elsewhere uses it."""

    def __init__(self, folder: Path, nats_url: str) -> None:
        self.folder = folder
        self.nats_url = nats_url
        self.database_url = f"sqlite:///{folder / 'flagstream.db'}"
        self.publisher = publisher(folder, nats_url=nats_url, database_url=self.database_url)
        self.streams = stream_server(folder, nats_url=nats_url, upstream_url=self.publisher.url, drain=1)
        assert self.publisher.process.env is not None
        self.publisher.process.env["PUBLISHER_PUBLIC_STREAM_URL"] = self.streams.url
        self.url = self.publisher.url
        self.made = 0

    def another_publisher(self, session_lifetime: float) -> Program:
        """One more process over the same database."""
        return publisher(
            self.folder,
            nats_url=self.nats_url,
            database_url=self.database_url,
            name="another",
            session_lifetime=session_lifetime,
        )

    def api(self, method: str, path: str, body: object = None, *, token: str = ADMIN_TOKEN) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        response = httpx.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=10)
        response.raise_for_status()
        return response.json() if response.content else None

    def token(self, name: str) -> dict[str, Any]:
        self.made += 1
        made: dict[str, Any] = self.api("POST", "/api/tokens", {"name": f"{name}-{self.made}"})
        return made

    def project(self, *environments: str, name: str = "", **features: Any) -> Project:
        """Make a project whose features are on, with these values."""
        self.made += 1
        made = self.api("POST", "/api/projects", {"name": name or f"Project {self.made}"})
        path = f"/api/projects/{made['id']}"
        keys = {each: self.api("POST", f"{path}/environments", {"name": each})["key"] for each in environments}
        for feature, value in features.items():
            self.api("POST", f"{path}/features", {"name": feature, "enabled": True, "value": value})
        return Project(made["id"], f"{self.url}/projects/{made['id']}", keys)

    def state(self, key: str, feature: str) -> Any:
        return self.api("GET", f"/api/environments/{key}/features/{feature}")

    def change(self, key: str, feature: str, *, token: str = ADMIN_TOKEN, **change: Any) -> Any:
        return self.api("PATCH", f"/api/environments/{key}/features/{feature}", change, token=token)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dashboard")
    nats = NatsServer(folder).start()
    site = Site(folder, nats.url)
    site.publisher.start()
    site.streams.start()
    yield site
    for program in (site.streams, site.publisher):
        if program.process.running:
            program.kill()
    nats.kill()


@dataclass
class Visitor:
    """A browser of its own, and what it complained about."""

    page: Page
    complaints: list[str]
    requested: list[str]

    def complained(self, *expected: str) -> list[str]:
        """Return what it complained about, but for what a test brought about on purpose."""
        return [each for each in self.complaints if not any(word in each for word in expected)]


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Visitor]]:
    """Open a signed-in browser on a page."""
    contexts = []

    def open_page(url: str = "", *, signed_in: bool = True, **options: Any) -> Visitor:
        context = browser.new_context(**options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        visitor = Visitor(page, [], [])
        page.on("console", lambda line: visitor.complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))

        def on_dialog(dialog: Dialog) -> None:
            visitor.complaints.append(f"dialog {dialog.message}")
            dialog.dismiss()

        page.on("dialog", on_dialog)
        page.on("request", lambda request: visitor.requested.append(request.url))
        if signed_in:
            answer = context.request.post(f"{site.url}/sign-in", form={"token": ADMIN_TOKEN, "next": "/changes"})
            assert answer.ok
        if url:
            page.goto(url)
        return visitor

    yield open_page
    for context in contexts:
        context.close()
