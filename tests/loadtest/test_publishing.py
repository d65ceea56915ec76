from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest

from loadtest.announcing import AnnounceError, Announcer
from loadtest.clock import RunClock
from loadtest.messages import Environment
from loadtest.publishing import Announcements, Surge, planned, publish
from loadtest.scenario.schema import Publishing
from tests.loadtest.scripted_http import Answer, ScriptedHttp, hang_up, plain, silence
from tests.servers import free_port

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def changes(until: float = 10.0, environments: int = 3, rises: tuple[Surge, ...] = (), **settings: Any) -> list[Any]:
    return list(planned(Publishing(**settings), environments, until, 7, rises))


def test_even_changes_take_one_environment_after_the_other() -> None:
    assert changes(rate=2.0, start=1.0, until=3.0) == [(1.0, 0), (1.5, 1), (2.0, 2), (2.5, 0)]


def test_changes_of_all_environments_come_in_rounds() -> None:
    assert changes(rate=1.0, until=2.0, to="all") == [(0.0, 0), (0.0, 1), (0.0, 2), (1.0, 0), (1.0, 1), (1.0, 2)]


@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_changes_end_when_they_are_to(arrivals: Literal["even", "poisson"]) -> None:
    made = changes(rate=50.0, start=2.0, until=100.0, to="random", arrivals=arrivals)
    assert 4500 < len(made) < 5300
    assert made[0][0] >= 2.0
    assert made[-1][0] < 100.0
    assert min(Counter(index for _, index in made).values()) > 1400
    assert made == changes(rate=50.0, start=2.0, until=100.0, to="random", arrivals=arrivals)


def test_poisson_changes_come_as_independent_events_do() -> None:
    made = changes(rate=20.0, until=500.0, arrivals="poisson")
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(made)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.05, rel=0.05)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)


def test_a_surge_multiplies_the_rate_while_it_lasts_and_not_a_moment_longer() -> None:
    made = [at for at, _ in changes(rate=1.0, until=10.0, rises=(Surge(2.5, 4.5, 10.0),))]
    assert made[:4] == pytest.approx([0, 1, 2, 2.55])
    assert len([at for at in made if 2.5 <= at < 4.5]) == 20
    assert made[-1] < 10
    assert all(gap == pytest.approx(1.0) for gap in (b - a for a, b in itertools.pairwise(made) if a > 4.6))


def test_no_rate_is_no_change() -> None:
    assert not changes(rate=0.0)


async def published(
    server_url: str, *, seconds: float = 0.2, environments: int = 2, patience: float = 20.0, **settings: Any
) -> Any:
    told, accepted = Announcements(), []
    clock = RunClock.start()
    announcer = Announcer(server_url, "secret", timeout=patience)
    await publish(
        planned(Publishing(**settings), environments, seconds, 1),
        [Environment(key=f"key-{number}") for number in range(environments)],
        announcer,
        clock=clock,
        signature=123,
        told=told,
        accepted=lambda index, version: accepted.append((index, version)),
    )
    await announcer.close()
    return told, accepted, clock


@pytest.mark.asyncio
async def test_a_change_is_sent_at_its_time_and_its_version_is_that_time() -> None:
    async with ScriptedHttp(plain("202 Accepted")) as server:
        told, accepted, clock = await published(server.url, rate=50.0)
    assert (told.planned, told.sent, told.accepted, told.failed) == (10, 10, 10, 0)
    assert told.took.count == 10
    assert len(accepted) == len(set(accepted)) == 10
    versions = sorted(version for _, version in accepted)
    assert {version % 1000 for version in versions} == {123}
    for number, version in enumerate(versions):
        assert 0 <= clock.second(version) - number / 50 < 0.0011
    for moment, line, body in server.requests:
        index = int(line.split("key-")[1][0])
        assert line == f"POST /sse/environments/key-{index}/queue-change HTTP/1.1"
        version = (datetime.fromisoformat(json.loads(body)["updated_at"]) - EPOCH) // timedelta(microseconds=1)
        assert (index, version) in accepted
        assert moment - clock.began >= clock.second(version)  # never before its time


@pytest.mark.asyncio
async def test_changes_go_out_although_nothing_is_answered() -> None:
    peers = set()
    all_came = asyncio.Event()

    async def answer(line: str, content: str, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        if len(server.requests) == 10:
            all_came.set()
        await all_came.wait()
        await plain("200 OK")(line, content, writer)

    async with ScriptedHttp(answer) as server:
        told, accepted, _ = await published(server.url, rate=50.0)
    assert len(peers) == len(server.requests) == 10  # each on a connection of its own, for none is free
    assert (told.sent, told.accepted, told.failed) == (10, 10, 0)
    assert len(accepted) == 10


@pytest.mark.asyncio
async def test_a_change_that_is_not_answered_in_time_has_failed() -> None:
    async with ScriptedHttp(silence) as server:
        told, accepted, _ = await published(server.url, rate=50.0, patience=0.1)
    assert (told.sent, told.accepted, told.failed) == (10, 0, 10)
    assert told.errors == {"no answer in time": 10}
    assert not accepted


@pytest.mark.asyncio
async def test_two_changes_of_one_environment_are_never_of_the_same_version() -> None:
    async with ScriptedHttp(plain("200 OK")) as server:
        _, accepted, _ = await published(server.url, seconds=0.02, environments=1, rate=5000.0)
    assert len(accepted) == len(set(accepted)) == 100


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (plain("503 Service Unavailable"), "status 503"),
        (plain("401 Unauthorized", "Connection: close"), "status 401"),
        (hang_up, "connection broken"),
        (None, "connection refused"),
    ],
    ids=["status", "closing", "hang_up", "refused"],
)
@pytest.mark.asyncio
async def test_failures_are_counted_by_kind_and_not_tried_again(answer: Answer | None, kind: str) -> None:
    if answer is None:
        told, _, _ = await published(f"http://127.0.0.1:{free_port()}", rate=40.0)
    else:
        async with ScriptedHttp(answer) as server:
            told, _, _ = await published(server.url, rate=40.0)
        assert len(server.requests) == 8
    assert (told.planned, told.sent, told.accepted) == (8, 8, 0)
    assert told.errors == {kind: 8}
    assert told.results().failed == 8


@pytest.mark.asyncio
async def test_what_answers_without_http_is_a_failure() -> None:
    async def noise(line: str, content: str, writer: asyncio.StreamWriter) -> None:
        del line, content
        writer.write(b"hello\r\n\r\n")
        await writer.drain()

    async with ScriptedHttp(noise) as server:
        announcer = Announcer(server.url, "secret")
        with pytest.raises(AnnounceError, match="an answer that is not HTTP"):
            await announcer.announce("key", 1_700_000_000_000_000)
        await announcer.close()


@pytest.mark.asyncio
async def test_a_connection_is_used_again() -> None:
    peers = []

    async def answer(line: str, content: str, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername"))
        await plain("200 OK")(line, content, writer)

    async with ScriptedHttp(answer) as server:
        announcer = Announcer(server.url, "secret")
        for version in range(1, 5):
            await announcer.announce("key", version)
        await announcer.close()
    assert len(set(peers)) == 1
