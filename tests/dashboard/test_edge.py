"""The dashboard shows what an edge saves the stream servers, while an edge answers."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Site, Visitor
from tests.edge.varnish import Varnish
from tests.programs import COMMAND, environment, stream_server
from tests.servers import Process

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]

CLIENTS = 300


class Edge:
    """A Varnish in front of a stream server of its own, with its report."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.origin = stream_server(
            folder, nats_url=site.nats_url, upstream_url=site.url, edge="true", heartbeat=0.5, name="origin"
        ).start()
        self.varnish = Varnish(folder, origins=(self.origin.url.removeprefix("http://"),)).start()
        self.report = Process(
            [
                *(*COMMAND, "edge", "report", "--name", self.varnish.name, "--port", "0"),
                *("--nats-url", site.nats_url),
            ],
            log=folder / "report.log",
            env=environment(),
        ).start()
        self.clients: list[socket.socket] = []

    def connect(self, clients: int, key: str) -> None:
        for _ in range(clients):
            client = socket.create_connection(("127.0.0.1", self.varnish.port))
            client.sendall(f"GET /sse/environments/{key}/stream HTTP/1.1\r\nHost: edge\r\n\r\n".encode())
            self.clients.append(client)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in (self.report, self.varnish.process, self.origin.process):
            if process.running:
                process.kill()


@pytest.fixture
def edge(site: Site, tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path, site)
    yield edge
    edge.close()


def test_the_page_shows_many_clients_on_few_origin_streams_while_an_edge_answers(
    site: Site, visit: Visit, edge: Edge, tmp_path: Path
) -> None:
    project = site.project("Development", "Production", banner="a")
    for key in project.keys.values():
        edge.connect(CLIENTS // 2, key)
    visitor = visit(project.url, viewport={"width": 1400, "height": 700})
    shown = visitor.page.locator("#edges")
    expect(shown).to_have_text(f"{CLIENTS} clients at 1 edge → 2 origin streams")
    visitor.page.screenshot(path=tmp_path / "edge.png")
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390

    edge.varnish.stop()
    expect(shown).to_be_hidden()
    assert visitor.complained() == []


def test_a_page_without_an_edge_says_nothing_of_one(site: Site, visit: Visit) -> None:
    project = site.project("Development", banner="a")
    visitor = visit(project.url)
    expect(visitor.page.locator("[data-streams]")).to_have_text(re.compile("1 stream"))
    with visitor.page.expect_response("**/api/edges") as asked:
        pass
    assert asked.value.json() == {"edges": []}
    expect(visitor.page.locator("#edges")).to_be_hidden()
    assert visitor.complained() == []
