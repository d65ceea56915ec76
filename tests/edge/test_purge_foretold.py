"""A foretold version: documents heed it at once, streams never hear of it, and an edge is told what it may keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from publisher.announcer import Announcer
from publisher.messages import MAX_AHEAD, encode, foretold_key_of, foretold_subject, key_of, now, subject
from stream_server.documents import foretold
from stream_server.documents.foretold import Foretold
from stream_server.versions import SharedVersions
from tests.broker.conftest import Link, linked
from tests.documents.upstream import CLIENT_KEY, Upstream, documents, serving, value, version
from tests.programs import Program, stream_server
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio

HEADERS = {"X-Environment-Key": CLIENT_KEY}


@pytest_asyncio.fixture
async def upstream() -> Any:
    upstream = Upstream(version=now())
    async with serving(upstream.app()) as upstream.port:
        yield upstream


@pytest_asyncio.fixture
async def link(nats_server: NatsServer) -> Any:
    async with linked(nats_server.url) as link:
        await link.up.wait()
        yield link


Start = Callable[..., Program]


@pytest.fixture
def start(nats_server: NatsServer, upstream: Upstream, tmp_path: Path) -> Iterator[Start]:
    """Start a stream server over the test's upstream, with what it serves of it saved on disk."""
    started: list[Program] = []

    def start(**settings: object) -> Program:
        chosen: dict[str, Any] = {"snapshot_dir": tmp_path / "snapshot", **settings}
        program = stream_server(tmp_path, nats_url=nats_server.url, upstream_url=upstream.url, **chosen)
        started.append(program)
        return program.start()

    yield start
    for program in started:
        if program.process.running:
            program.kill()


def asking(program: Program) -> httpx.AsyncClient:
    """Return a client that connects for each request anew: to whichever worker."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=program.url, headers=HEADERS, limits=limits, timeout=10)


async def flags(program: Program) -> httpx.Response:
    async with asking(program) as client:
        return await client.get("/api/v1/flags/")


async def until_served(program: Program, newest: int, times: int = 1) -> httpx.Response:
    """Ask until the answer is of version `newest` so many times in a row."""
    right = 0
    async with asking(program) as client, asyncio.timeout(30):
        while right < times:
            answer = await client.get("/api/v1/flags/")
            right = right + 1 if version(answer) == newest else 0
            await asyncio.sleep(0.005)
    return answer


async def first_block(program: Program) -> str:
    """Return what a stream that opens now says first."""
    async with (
        httpx.AsyncClient(base_url=program.url, timeout=10) as client,
        client.stream("GET", f"/sse/environments/{CLIENT_KEY}/stream") as answer,
    ):
        async for block in answer.aiter_text():
            return block
    raise AssertionError("an empty stream")


@pytest.mark.parametrize("workers", [1, 2])
async def test_documents_heed_a_foretold_version_and_streams_do_not_hear_of_it(
    link: Link, upstream: Upstream, start: Start, workers: int
) -> None:
    old = upstream.version
    announcer = Announcer(link.client)
    await announcer.announce(CLIENT_KEY, old)
    program = await asyncio.to_thread(start, edge="true", workers=workers, lifetime=60, drain=65)
    heard: list[str] = []

    async def listen() -> None:
        async with (
            httpx.AsyncClient(base_url=program.url, timeout=60) as client,  # longer than between two heartbeats
            client.stream("GET", f"/sse/environments/{CLIENT_KEY}/stream") as answer,
        ):
            async for block in answer.aiter_text():
                if "data:" in block:
                    heard.append(block)  # noqa: PERF401 - looked at while it grows

    listening = asyncio.create_task(listen())
    async with asking(program) as client:
        for _ in range(10 * workers):  # every worker holds the old one
            assert version(await client.get("/api/v1/flags/")) == old
    upstream.version, upstream.value = old + 1, "b"
    await link.client.publish(foretold_subject(CLIENT_KEY), encode(old + 1))
    answer = await until_served(program, old + 1, times=10 * workers)  # by whichever worker
    assert value(answer) == "b"
    opening = await first_block(program)
    assert str(encode(old), "ascii") in opening
    assert opening.count("data:") == 1
    async with asyncio.timeout(30):
        while not heard:
            await asyncio.sleep(0.01)
    assert len(heard) == 1
    await announcer.announce(CLIENT_KEY, old + 1)
    async with asyncio.timeout(30):
        while len(heard) < 2:
            await asyncio.sleep(0.01)
    assert str(encode(old + 1), "ascii") in heard[1]
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_foretold_version_survives_no_restart(
    nats_server: NatsServer, link: Link, upstream: Upstream, start: Start
) -> None:
    """The snapshot keeps what was announced: it is told to streams when NATS is away."""
    old = upstream.version
    await Announcer(link.client).announce(CLIENT_KEY, old)
    program = await asyncio.to_thread(start, drain=0)
    await flags(program)
    upstream.version = old + 1
    await link.client.publish(foretold_subject(CLIENT_KEY), encode(old + 1))
    await until_served(program, old + 1)
    await asyncio.to_thread(program.stop)
    nats_server.kill()
    program.process.start()
    async with asyncio.timeout(20):
        while True:
            try:
                opening = await first_block(program)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if "data:" in opening:
                break
    assert str(encode(old), "ascii") in opening


async def test_a_document_that_is_older_than_what_was_foretold_is_kept_by_no_edge(upstream: Upstream) -> None:
    """Its upstream lags, or is down; what is foretold must not be hidden behind a copy of it for an hour."""
    versions = SharedVersions(None, 1024, 1, 0)
    versions.advance(CLIENT_KEY, upstream.version)
    async with documents(upstream, versions, edge=True) as setup:
        answer = await setup.flags()
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert "Surrogate-Key" in answer.headers
        setup.documents.foretell(CLIENT_KEY, upstream.version + 1)
        answer = await setup.flags()
        assert version(answer) == upstream.version
        assert answer.headers["Cache-Control"] == "private, no-store"
        upstream.status = 503
        answer = await setup.flags()
        assert answer.headers["Cache-Control"] == "private, no-store"
        upstream.status, upstream.version = 200, upstream.version + 1
        async with asyncio.timeout(30):
            while version(answer := await setup.flags()) != upstream.version:
                await asyncio.sleep(0.05)
        assert answer.headers["Cache-Control"] == "private, no-cache"


async def test_an_environment_whose_changes_nobody_announces_is_kept_by_no_edge(upstream: Upstream) -> None:
    async with documents(upstream, edge=True) as setup:
        assert (await setup.flags()).headers["Cache-Control"] == "private, no-store"
    async with documents(upstream, edge=False) as setup:
        assert (await setup.flags()).headers["Cache-Control"] == "private, no-cache"


async def test_a_document_that_its_upstream_does_not_date_is_kept_by_no_edge(upstream: Upstream) -> None:
    """A Flagsmith API may be behind its own event; what it gave is then old under a new version."""
    upstream.labelled = False
    versions = SharedVersions(None, 1024, 1, 0)
    versions.advance(CLIENT_KEY, upstream.version)
    async with documents(upstream, versions, edge=True) as setup:
        assert (await setup.flags()).headers["Cache-Control"] == "private, no-store"


async def test_what_is_foretold_is_never_lowered_and_leaves_when_it_is_announced() -> None:
    versions = SharedVersions(None, 16, 1, 0)
    table = Foretold(versions)
    assert table.note("e", 5)
    assert not table.note("e", 4)
    assert not table.note("e", 5)
    assert (table.newest("e"), versions.newest("e")) == (5, 0)
    versions.advance("e", 4)
    table.settle("e")
    assert table.newest("e") == 5
    versions.advance("e", 6)
    assert table.newest("e") == 6
    table.settle("e")
    assert len(table) == 0
    assert not table.note("e", 6)


async def test_what_is_foretold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foretold, "MOST", 10)
    table = Foretold(SharedVersions(None, 16, 1, 0))
    for number in range(30):
        table.note(str(number), 5)
    assert len(table) == 10
    assert (table.newest("29"), table.newest("0")) == (5, 0)


async def test_foretold_and_announced_are_not_taken_for_each_other() -> None:
    assert (key_of(foretold_subject("e")), foretold_key_of(subject("e"))) == (None, None)
    assert foretold_key_of(foretold_subject("e")) == "e"


async def test_nonsense_and_what_is_too_far_ahead_is_not_believed(link: Link, upstream: Upstream, start: Start) -> None:
    old = upstream.version
    await Announcer(link.client).announce(CLIENT_KEY, old)
    program = await asyncio.to_thread(start)
    await flags(program)
    asked = len(upstream.asked)
    for payload in (b"", b"{}", b'{"updated_at": 1e300}', encode(now() + 2 * MAX_AHEAD)):
        await link.client.publish(foretold_subject(CLIENT_KEY), payload)
    upstream.version = old + 1
    await link.client.publish(foretold_subject(CLIENT_KEY), encode(old + 1))
    await until_served(program, old + 1)  # so what came before it was read, and did no harm
    assert len(upstream.asked) == asked + 1
