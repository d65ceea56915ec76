"""Foretell, purge, announce: the order, who hears what, and what happens when a part of it is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry, generate_latest

from flagstream.settings import SettingsError, load
from publisher import messages
from publisher.announcer import Announcer, NotAnnouncedError
from publisher.messages import FORETOLD_SUBJECTS, SUBJECTS, broker, decode, surrogate_key
from publisher.purging import PurgeFirst, edges_of
from publisher.purging.edge import PurgeError
from publisher.purging.figures import PurgeFigures
from publisher.purging.queue import EdgePurges
from publisher.settings import PublisherSettings
from tests.broker.conftest import Link, linked
from tests.documents.upstream import serving
from tests.edge.fastly_stand_in import SERVICE, TOKEN, FastlyStandIn
from tests.programs import ADMIN_TOKEN, Program, publisher
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio

VERSION = 1_735_229_888_760_123


@pytest.fixture
def story() -> list[str]:
    """What happened, in its order."""
    return []


@pytest_asyncio.fixture
async def link(nats_server: NatsServer) -> AsyncIterator[Link]:
    async with linked(nats_server.url) as link:
        await link.up.wait()
        yield link


class ToldEdge:
    """An edge that writes down what it is told; while it is `stuck` it takes its time, while it fails it says so."""

    batch = 1
    lanes = 8

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False
        self.takes = 0.0

    async def purge(self, names: Sequence[str]) -> None:
        await self.go.wait()
        await asyncio.sleep(self.takes)
        if self.fails:
            raise PurgeError("out of order")
        self.story.append(f"{self.name} purges {' '.join(names)}")

    async def close(self) -> None:
        self.story.append(f"{self.name} is closed")


@asynccontextmanager
async def listening(url: str, story: list[str]) -> AsyncIterator[None]:
    """Write down what everybody can hear on NATS."""

    async def hear(message: Msg) -> None:
        story.append(f"{message.subject} {decode(message.data)}")

    async with linked(url) as ear:
        await ear.up.wait()
        await ear.client.subscribe(SUBJECTS, cb=hear)
        await ear.client.subscribe(FORETOLD_SUBJECTS, cb=hear)
        await ear.client.flush()
        yield


@asynccontextmanager
async def first(
    link: Link, edges: Sequence[ToldEdge], *, patience: float = 5.0, **options: Any
) -> AsyncIterator[PurgeFirst]:
    announcer = Announcer(link.client)
    waits = [EdgePurges(edge, patience=patience) for edge in edges]
    purges = PurgeFirst(announcer, link.client, waits, **{"lead": 0.05, **options})
    task = asyncio.create_task(purges.run())
    try:
        yield purges
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_it_is_foretold_purged_everywhere_and_then_announced(
    nats_server: NatsServer, link: Link, story: list[str]
) -> None:
    edges = [ToldEdge("one", story), ToldEdge("two", story)]
    async with listening(nats_server.url, story), first(link, edges) as purges:
        assert await purges.announce("e", VERSION) == VERSION
        name = surrogate_key("document", "e")
        await until(lambda: len(story) == 4)
        assert story[0] == f"flags.environment.e.foretold {VERSION}"
        assert sorted(story[1:3]) == [f"one purges {name}", f"two purges {name}"]
        assert story[3] == f"flags.environment.e.updated {VERSION}"
        assert (await broker.read_newest(link.client)).versions == {"e": VERSION}  # what is foretold is not stored
    assert {"one is closed", "two is closed"} <= set(story)


async def test_edges_behind_each_other_are_all_purged_before_any_is_purged_again(link: Link, story: list[str]) -> None:
    inner, outer = ToldEdge("inner", story), ToldEdge("outer", story)
    inner.go.clear()
    async with first(link, [inner, outer], tiers=2) as purges:
        announcing = asyncio.create_task(purges.announce("e", VERSION))
        await until(lambda: len(story) == 1)
        inner.go.set()
        await announcing
    assert [line.split()[0] for line in story[:2]] == ["outer", "inner"]
    assert "outer" in {line.split()[0] for line in story[2:4]}


async def test_all_tiers_together_hold_an_announcement_up_no_longer_than_the_patience(
    link: Link, story: list[str]
) -> None:
    slow = ToldEdge("slow", story)
    slow.takes = 0.4
    async with first(link, [slow], tiers=4, patience=0.6, again=0) as purges:
        assert await purges.announce("e", VERSION) == VERSION
        assert purges.unpurged == 1


async def test_one_slow_edge_does_not_hold_up_other_environments_beyond_its_patience(
    link: Link, story: list[str]
) -> None:
    slow = ToldEdge("slow", story)
    slow.go.clear()
    async with first(link, [slow], patience=1.5, again=0) as purges:
        held = await asyncio.gather(*(purges.announce(f"e{number}", VERSION) for number in range(50)))
        assert held == [VERSION] * 50
        assert purges.unpurged == 50
        async with asyncio.timeout(1.3):  # below patience: it is given up, and nobody waits for it any more
            await purges.announce("another", VERSION)
        slow.go.set()
        await until(lambda: not purges.edges[0].waiting)
        assert len({line for line in story if "purges" in line}) == 51
        assert await purges.announce("e", VERSION) == VERSION
        assert purges.unpurged == 51


async def test_a_failure_is_told_once_and_shown_until_it_is_over(
    link: Link, story: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    edge = ToldEdge("broken", story)
    edge.fails = True
    async with first(link, [edge], patience=0.2) as purges:
        for number in range(3):
            await purges.announce(f"e{number}", VERSION)
        assert purges.fault == "broken: out of order, 3 wait"
        edge.fails = False
        await until(lambda: not purges.fault)
    told = capsys.readouterr()
    assert (told.out + told.err).count("although an edge is not purged") == 1


async def test_the_purge_is_repeated_after_the_announcement(link: Link, story: list[str]) -> None:
    async with first(link, [ToldEdge("one", story)], again=0.2) as purges:
        await purges.announce("e", VERSION)
        await purges.announce("f", VERSION)
        await until(lambda: len(story) == 4)
    assert Counter(story[:4]) == dict.fromkeys((f"one purges {surrogate_key('document', key)}" for key in "ef"), 2)


async def test_without_nats_nothing_is_purged_and_the_relay_is_told(
    nats_server: NatsServer, link: Link, story: list[str]
) -> None:
    async with first(link, [ToldEdge("one", story)]) as purges:
        nats_server.kill()
        await until(lambda: not link.client.is_connected)
        with pytest.raises(NotAnnouncedError):
            await purges.announce("e", VERSION)
        assert not story


async def test_the_figures_name_edges_and_no_environment(link: Link, story: list[str]) -> None:
    broken, well = ToldEdge("broken", story), ToldEdge("well", story)
    broken.fails = True
    async with first(link, [broken, well], patience=0.2) as purges:
        registry = CollectorRegistry()
        registry.register(PurgeFigures(purges))
        await purges.announce("environment-of-mine", VERSION)
        await until(lambda: purges.edges[1].counters.purged == 1)  # a busy machine may have purged it behind
        text = generate_latest(registry).decode()
    assert 'publisher_purges_total{edge="well"} 1.0' in text
    assert 'publisher_purges_total{edge="broken"} 0.0' in text
    assert 'publisher_purges_waiting{edge="broken"} 1.0' in text
    assert "publisher_announced_unpurged_total 1.0" in text
    assert "environment-of-mine" not in text
    assert surrogate_key("document", "environment-of-mine") not in text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PURGE_URLS": "10.0.0.1:80"}, "purge_urls: must begin with http:// or https://"),
        ({"PURGE_URLS": "http://a/b"}, "purge_urls: must be addresses without anything else"),
        ({"FASTLY_SERVICE": "abc"}, "fastly_service and fastly_token: give both"),
        ({"FASTLY_TOKEN": "abc"}, "fastly_service and fastly_token: give both"),
        ({"FASTLY_SERVICE": "../x", "FASTLY_TOKEN": "t"}, "fastly_service: must be the id of a service"),
        ({"FASTLY_SERVICE": "a", "FASTLY_TOKEN": "t\n"}, "fastly_token: has a character that no token has"),
    ],
)
async def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(PublisherSettings, environ={f"PUBLISHER_{name}": value for name, value in settings.items()})
    assert sentence in str(raised.value)


async def test_nothing_is_purged_by_default() -> None:
    assert edges_of(load(PublisherSettings, environ={})) == []


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def programs() -> Any:
    started: list[Program] = []
    yield started
    for program in started:
        if program.process.running:
            program.kill()


def ask(program: Program, method: str, path: str, body: object) -> Any:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    answer = httpx.request(method, f"{program.url}{path}", json=body, headers=headers, timeout=10)
    assert answer.is_success, answer.text
    return answer.json()


async def test_a_publisher_announces_what_it_could_not_purge_says_so_and_stays_ready(
    nats_server: NatsServer, tmp_path: Path, programs: list[Program], story: list[str]
) -> None:
    """What Flagsmith's API queues goes the same way as our own changes."""
    failing = FastlyStandIn(status=503)
    async with serving(failing.app()) as port, listening(nats_server.url, story):
        program = publisher(
            tmp_path,
            nats_url=nats_server.url,
            database_url=f"sqlite:///{tmp_path / 'flagstream.db'}",
            fastly_service=SERVICE,
            fastly_token=TOKEN,
            fastly_url=f"http://127.0.0.1:{port}",
            purge_patience=0.5,
        )
        programs.append(program)
        await asyncio.to_thread(program.start)
        version = messages.now()
        body = {"updated_at": messages.wire_seconds(version)}
        async with httpx.AsyncClient(base_url=program.url, timeout=30) as client:
            path = "/sse/environments/foreign/queue-change"
            answer = await client.post(path, json=body, headers={"Authorization": "Token sse-token-of-a-test"})
            assert answer.status_code == 202
            await until(lambda: f"flags.environment.foreign.updated {version}" in story)
            assert story[0] == f"flags.environment.foreign.foretold {version}"
            await until_purges(client, f"fastly {SERVICE}: its API answers 503, 1 wait")
            assert failing.asked > 0
            async with asyncio.timeout(30):  # it is heard before the publisher knows that it is announced
                while "publisher_announced_unpurged_total 1.0" not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0.02)
            failing.status = 200
            await until(lambda: surrogate_key("document", "foreign") in failing.purged)
            await until_purges(client, "ok")
        assert TOKEN not in program.output()
        assert program.output().count("although an edge is not purged") == 1


async def until_purges(client: httpx.AsyncClient, said: str) -> None:
    """Wait until the publisher, which stays ready, says this of its purges."""
    async with asyncio.timeout(30):
        while True:
            health = await client.get("/health/readiness")
            assert health.status_code == 200
            if health.json()["purges"] == said:
                return
            await asyncio.sleep(0.02)


async def test_with_purging_off_nothing_is_foretold_and_nothing_of_it_is_shown(
    nats_server: NatsServer, tmp_path: Path, programs: list[Program], story: list[str]
) -> None:
    async with listening(nats_server.url, story):
        url = f"sqlite:///{tmp_path / 'flagstream.db'}"
        program = publisher(tmp_path, nats_url=nats_server.url, database_url=url)
        programs.append(program)
        await asyncio.to_thread(program.start)
        project = await asyncio.to_thread(ask, program, "POST", "/api/projects", {"name": "Shop"})
        path = f"/api/projects/{project['id']}/environments"
        await asyncio.to_thread(ask, program, "POST", path, {"name": "Production"})
        await until(lambda: any(line.split()[0].endswith(".updated") for line in story))
        assert not [line for line in story if ".foretold" in line]
        async with httpx.AsyncClient(base_url=program.url, timeout=30) as client:
            assert "purge" not in (await client.get("/metrics")).text
            assert "purges" not in (await client.get("/health/readiness")).json()
