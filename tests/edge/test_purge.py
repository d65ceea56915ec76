"""Purge before announce, whole: publisher, NATS, stream server and a Varnish that keeps unversioned documents."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from publisher.messages import surrogate_key, version_of
from publisher.purging.edge import PurgeError
from publisher.purging.varnish import VarnishEdge
from tests.documents.upstream import serving
from tests.edge.fastly_stand_in import SERVICE, TOKEN, FastlyStandIn
from tests.edge.varnish import Varnish
from tests.programs import ADMIN_TOKEN, publisher, stream_server
from tests.servers import NatsServer

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

FEATURE = "banner"
CLIENTS = 8
CHANGES = 6
LEAD = 1.5
"""Seconds that an old answer may be under way, or a foretold version unheard, on a machine that stands still: each
change takes as long. Nothing else keeps what was asked for before the purge from being kept after it."""

UPDATED = re.compile(rb'data: \{"updated_at": ([0-9.]+)\}')


class Site:
    """One installation; what is not said in `settings` of the publisher is as it comes."""

    def __init__(self, folder: Path, nats_url: str, stream_nats_url: str = "", **settings: Any) -> None:
        self.serving = stream_server(
            folder,
            nats_url=stream_nats_url or nats_url,
            upstream_url="http://127.0.0.1:1",
            edge="true",
            min_interval=0,
            max_events=1000,
            drain=35,
        )
        self.edge = Varnish(folder, origins=[self.serving.url.removeprefix("http://")], document_ttl=3600.0)
        settings = {"purge_urls": self.edge.url, "purge_again": 0, **settings}
        database_url = f"sqlite:///{folder / 'flagstream.db'}"
        self.managing = publisher(folder, nats_url=nats_url, database_url=database_url, **settings)
        assert self.serving.process.env is not None
        self.serving.process.env["STREAM_SERVER_UPSTREAM_URL"] = self.managing.url
        self.key = ""

    def start(self) -> None:
        self.managing.start()
        self.serving.start()
        self.edge.start()
        project = self.call("POST", "/api/projects", {"name": "Shop"})
        environment = self.call("POST", f"/api/projects/{project['id']}/environments", {"name": "Production"})
        self.key = str(environment["key"])
        self.call("POST", f"/api/projects/{project['id']}/features", {"name": FEATURE, "enabled": True, "value": "0"})

    def end(self) -> None:
        for program in (self.managing, self.serving):
            if program.process.running:
                program.kill()
        if self.edge.process.running:
            self.edge.process.kill()

    def call(self, method: str, path: str, body: object) -> Any:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        answer = httpx.request(method, f"{self.managing.url}{path}", json=body, headers=headers, timeout=10)
        assert answer.is_success, answer.text
        return answer.json()

    async def change(self, value: str) -> int:
        path = f"/api/environments/{self.key}/features/{FEATURE}"
        state = await asyncio.to_thread(self.call, "PATCH", path, {"value": value})
        return version_of(float(state["updated_at"]))

    def health(self) -> Any:
        answer = httpx.get(f"{self.managing.url}/health/readiness")
        assert answer.status_code == 200  # an edge makes no publisher unready
        return answer.json()

    def flags(self) -> int:
        """Ask the edge for flags and return their version."""
        answer = httpx.get(f"{self.edge.url}/api/v1/flags/", headers={"X-Environment-Key": self.key}, timeout=20)
        assert answer.status_code == 200, answer.text
        return int(answer.headers["X-Flagstream-Version"])

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.managing.url}/metrics").text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


@pytest.fixture
def sites() -> Iterator[list[Site]]:
    made: list[Site] = []
    yield made
    for site in made:
        site.end()


@pytest.fixture
def make(sites: list[Site], tmp_path: Path, nats_server: NatsServer) -> Any:
    def make(nats_url: str = "", **settings: Any) -> Site:
        site = Site(tmp_path, nats_url or nats_server.url, **settings)
        sites.append(site)
        site.start()
        return site

    return make


class Clients:
    """Clients behind the edge that refetch without a version as soon as they are told, and some who ask all the time.

    `old` are the pairs (told, got) where what was fetched after an event was older than the event.
    """

    def __init__(self, site: Site) -> None:
        self.old: list[tuple[int, int]] = []
        self.refetched = 0
        self.told: dict[int, int] = {}
        self.changed = asyncio.Event()
        self._site = site
        self._http = httpx.AsyncClient(
            base_url=site.edge.url, timeout=20, limits=httpx.Limits(max_connections=64), trust_env=False
        )

    @asynccontextmanager
    async def running(self, clients: int = CLIENTS) -> AsyncIterator[None]:
        async with self._http, asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(number)) for number in range(clients)]
            tasks += [group.create_task(self._poll()) for _ in range(4)]
            await self.until(lambda: len(self.told) == clients, "the streams")
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def until(self, condition: Any, what: str, seconds: float = 30) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pytest.fail(f"{what} did not happen within {seconds:g} s")

    async def until_told(self, version: int) -> None:
        await self.until(lambda: all(told >= version for told in self.told.values()), f"event {version}")

    async def document(self) -> int:
        answer = await self._http.get("/api/v1/flags/", headers={"X-Environment-Key": self._site.key})
        assert answer.status_code == 200, answer.text
        return int(answer.headers["X-Flagstream-Version"])

    async def _follow(self, number: int) -> None:
        while True:
            async with self._http.stream("GET", f"/sse/environments/{self._site.key}/stream") as answer:
                async for line in answer.aiter_lines():
                    if found := UPDATED.match(line.encode()):
                        await self._refetch(number, version_of(float(found[1])))

    async def _refetch(self, number: int, told: int) -> None:
        if told <= self.told.get(number, 0):
            return
        got = await self.document()
        self.refetched += 1
        if got < told:
            self.old.append((told, got))
        self.told[number] = told
        self.changed.set()

    async def _poll(self) -> None:
        while True:
            await self.document()


async def test_no_client_that_refetches_without_a_version_gets_an_old_document(make: Any) -> None:
    site = make(purge_lead=LEAD)
    clients = Clients(site)
    async with clients.running():
        for number in range(CHANGES):
            await clients.until_told(await site.change(str(number)))
    assert clients.refetched >= CHANGES * CLIENTS
    assert clients.old == []
    # It was the edge that answered: for each version the origin gave the document once, or again for who was quicker.
    assert site.edge.counter("MAIN.cache_hit") > 10 * site.edge.counter("MAIN.cache_miss")


async def test_without_a_purge_the_same_clients_get_old_documents(make: Any) -> None:
    site = make(purge_urls="")
    clients = Clients(site)
    async with clients.running():
        await clients.until_told(await site.change("new"))
    assert len(clients.old) == CLIENTS


@pytest.mark.parametrize("foretold", [True, False])
async def test_a_purge_alone_is_filled_with_the_old_document_and_one_that_was_foretold_is_not(
    make: Any, tmp_path: Path, foretold: bool
) -> None:
    """A second, slow edge keeps the moment between purge and announcement open; someone always asks meanwhile."""
    nats = deaf_to_what_is_foretold(tmp_path) if not foretold else None
    slow = FastlyStandIn()
    try:
        async with serving(slow.app()) as port:
            fastly = {"fastly_service": SERVICE, "fastly_token": TOKEN, "fastly_url": f"http://127.0.0.1:{port}"}
            urls = {} if nats is None else {"nats_url": at(nats, "publisher"), "stream_nats_url": at(nats, "stream")}
            lead: dict[str, Any] = {"purge_lead": LEAD} if foretold else {}
            site = make(**urls, **fastly, **lead)
            clients = Clients(site)
            async with clients.running():
                for number in range(3):
                    await clients.until_told(await site.change(str(number)))
            site.end()
            assert surrogate_key("document", site.key) in slow.purged
            if foretold:
                assert clients.old == []
            else:
                assert len(clients.old) >= CLIENTS
    finally:
        if nats is not None:
            nats.kill()


def deaf_to_what_is_foretold(folder: Path) -> NatsServer:
    """A NATS that keeps foretold versions from the stream server: what a partition does, and the naive order."""
    (folder / "deaf").mkdir()
    configuration = folder / "nats.conf"
    configuration.write_text(
        'authorization { users = [{user: publisher, password: "p"}, {user: stream, password: "p",'
        ' permissions: {subscribe: {deny: ["flags.environment.*.foretold"]}}}] }'
    )
    server = NatsServer(folder / "deaf")
    server.process.command += ["-c", str(configuration)]
    return server.start()


def at(nats: NatsServer, user: str) -> str:
    return nats.url.replace("://", f"://{user}:p@")


async def test_a_publisher_that_is_killed_between_purge_and_announcement_loses_nothing(make: Any) -> None:
    held_up = FastlyStandIn()
    async with serving(held_up.app()) as port:
        url = f"http://127.0.0.1:{port}"
        site = make(fastly_service=SERVICE, fastly_token=TOKEN, fastly_url=url, purge_patience=60, purge_lead=LEAD)
        try:
            await kill_and_start_again(site, held_up)
        finally:
            held_up.open.set()
            site.end()  # or it would go on asking the stand-in


async def kill_and_start_again(site: Site, held_up: FastlyStandIn) -> None:
    clients = Clients(site)
    async with clients.running():
        await until(lambda: site.metric("publisher_outbox_waiting") == 0, "the announcements of the start")
        held_up.open.clear()
        purged, asked = site.edge.counter("MAIN.bans_added"), held_up.asked
        version = await site.change("new")
        await held_up.until_asked(asked + 1)
        await until(lambda: site.edge.counter("MAIN.bans_added") > purged, "the purge of Varnish")
        site.managing.kill()
        assert await clients.document() == version  # foretold and fetched before its publisher died
        assert max(clients.told.values()) < version  # nobody was told
        held_up.open.set()
        await asyncio.to_thread(site.managing.start)
        await clients.until_told(version)
    assert clients.old == []
    assert site.edge.counter("MAIN.bans_added") >= purged + 2  # the next one begins anew
    await until(lambda: site.metric("publisher_outbox_waiting") == 0, "the mark")


async def test_a_real_varnish_takes_purges_in_one_packet(tmp_path: Path) -> None:
    edge = Varnish(tmp_path, origins=["127.0.0.1:1"], document_ttl=3600.0).start()
    try:
        purger, before = VarnishEdge(edge.url), edge.counter("MAIN.bans_added")
        for _ in range(2):
            await purger.purge([surrogate_key("document", str(number)) for number in range(64)])
        await purger.close()
        assert edge.counter("MAIN.bans_added") == before + 128
        with pytest.raises(PurgeError, match="it answers 400"):
            await purger.purge(["no name"])
        await purger.close()
    finally:
        edge.process.kill()


async def test_a_change_does_not_wait_for_a_varnish_that_is_down_and_one_that_comes_back_is_not_old(make: Any) -> None:
    site = make(purge_patience=30)
    async with direct(site) as told:
        await until(lambda: told, "the first version")
        site.edge.stop()
        version = await site.change("while it is down")
        await until(lambda: told[-1] == version, "the event", 10)  # a third of the patience
        assert site.health()["purges"].startswith(f"varnish 127.0.0.1:{site.edge.port}: the connection is refused")
        await until(lambda: site.metric("publisher_outbox_waiting") == 0, "the mark, and any count before it")
        assert site.metric("publisher_announced_unpurged_total") == 0
        await asyncio.to_thread(site.edge.start)
        await until(lambda: site.health()["purges"] == "ok", "the purge of what came back")
        assert await asyncio.to_thread(site.flags) == version


async def test_a_frozen_varnish_costs_its_patience_once_and_forgets_when_it_thaws(make: Any) -> None:
    site = make(purge_patience=1)
    old = await asyncio.to_thread(site.flags)
    async with direct(site) as told:
        await until(lambda: told, "the first version")
        await until(lambda: site.metric("publisher_outbox_waiting") == 0, "the announcements of the start")
        unpurged = site.metric("publisher_announced_unpurged_total")
        frozen = stopped(site.edge)
        try:
            version = await site.change("while it is frozen")
            await until(lambda: told[-1] == version, "the event")
            await until(lambda: site.metric("publisher_outbox_waiting") == 0, "the mark, and the count before it")
            # Twice where a look for what waits fell between the commit and the mark: repeating it does no harm.
            assert site.metric("publisher_announced_unpurged_total") >= unpurged + 1
            assert "it does not answer" in site.health()["purges"]
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        assert old < version
        await until(lambda: site.flags() == version, "the purge after it")
        await until(lambda: site.health()["purges"] == "ok", "its being well")


def stopped(edge: Varnish) -> list[int]:
    """Freeze varnishd, the process that serves and the one that watches it; return their ids."""
    pid = edge.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pids = [pid, *map(int, children)]  # the watcher first, or it would end the other
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    return pids


@asynccontextmanager
async def direct(site: Site) -> AsyncIterator[list[int]]:
    """Follow the stream server itself; the value grows by the version of each event."""
    told: list[int] = []

    async def follow() -> None:
        url = f"/sse/environments/{site.key}/stream"
        async with httpx.AsyncClient(base_url=site.serving.url, timeout=60, trust_env=False) as client:
            while True:
                async with client.stream("GET", url) as answer:
                    async for line in answer.aiter_lines():
                        if found := UPDATED.match(line.encode()):
                            told.append(version_of(float(found[1])))  # noqa: PERF401 - looked at while it grows

    following = asyncio.create_task(follow())
    try:
        yield told
    finally:
        following.cancel()
        await asyncio.wait([following])


async def until(condition: Any, what: str, seconds: float = 30) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"{what} did not happen within {seconds:g} s")
