"""What clients use is fetched ahead when a change is announced, and a client's own request joins that fetch."""

from __future__ import annotations

import asyncio

import pytest

from stream_server.documents import prefetch
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Setup, value, version

pytestmark = pytest.mark.asyncio


def announce(setup: Setup, newest: int, environment: str = CLIENT_KEY) -> None:
    """Do what the feed does: the table of versions first, and fetching ahead last."""
    setup.upstream.version = newest
    setup.versions.advance(environment, newest)
    setup.documents.fetch_ahead(environment)


async def arrived(setup: Setup, number: int) -> None:
    async with asyncio.timeout(30):
        for _ in range(number):
            await setup.upstream.arrived.acquire()


async def landed(setup: Setup) -> None:
    """Wait for the fetches under way."""
    async with asyncio.timeout(30):
        while setup.documents._cache._flights._tasks:
            await asyncio.sleep(0.002)


async def test_client_that_was_told_of_a_change_finds_the_document_in_memory(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    setup.upstream.value = "b"
    announce(setup, NOW + 1)
    await landed(setup)
    response = await setup.flags(f"?v={NOW + 1}")
    assert (value(response), version(response)) == ("b", NOW + 1)
    assert setup.count("memory") == 1
    assert len(setup.upstream.asked) == 2


async def test_client_that_is_faster_joins_the_fetch(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    await arrived(setup, 1)
    gate = setup.upstream.hold()
    announce(setup, NOW + 1)
    await arrived(setup, 1)
    clients = [asyncio.create_task(setup.flags(f"?v={NOW + 1}")) for _ in range(20)]
    for _ in range(100):  # turns, not seconds: of those a busy machine may leave them none
        await asyncio.sleep(0)
    gate.set()
    assert {version(answer) for answer in await asyncio.gather(*clients)} == {NOW + 1}
    assert setup.sample("document_flights_joined_total") == 20
    assert len(setup.upstream.asked) == 2


async def test_documents_of_server_keys_are_fetched_with_their_environment(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    headers = {"X-Environment-Key": SERVER_KEY}
    await setup.flags()
    await setup.client.get("/api/v1/environment-document/", headers=headers)
    await arrived(setup, 2)
    announce(setup, NOW + 1)
    await arrived(setup, 2)
    await landed(setup)
    assert sorted(setup.upstream.asked[2:]) == ["/api/v1/environment-document/", "/api/v1/flags/"]
    assert sorted(setup.upstream.keys[2:]) == sorted([CLIENT_KEY, SERVER_KEY])


async def test_what_nobody_has_used_since_its_last_fetch_is_left_alone(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    for step in range(1, 5):
        announce(setup, NOW + step)
        await landed(setup)
    assert len(setup.upstream.asked) == 2
    assert version(await setup.flags()) == NOW + 4


async def test_persons_selections_and_other_environments_are_left_alone(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    headers = {"X-Environment-Key": CLIENT_KEY}
    await setup.client.get("/api/v1/identities/?identifier=u", headers=headers)
    await setup.client.get("/api/v1/flags/?feature=f", headers=headers)
    setup.upstream.environment = "other"
    await setup.flags(key="other")
    announce(setup, NOW + 1)
    await landed(setup)
    assert len(setup.upstream.asked) == 3


async def test_upstream_that_may_be_behind_its_own_event_is_not_asked_early(setup: Setup) -> None:
    setup.upstream.labelled = False
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    announce(setup, NOW + 1)
    await landed(setup)
    assert len(setup.upstream.asked) == 1


async def test_few_are_fetched_at_once_and_all_in_the_end(setup: Setup) -> None:
    keys = [f"key-{number}" for number in range(5 * prefetch.AT_ONCE)]
    for key in keys:
        setup.upstream.environment = key
        setup.versions.advance(key, NOW)
        await setup.flags(key=key)
    await arrived(setup, len(keys))
    gate = setup.upstream.hold()
    for key in keys:
        announce(setup, NOW + 1, key)
    await arrived(setup, prefetch.AT_ONCE)
    assert len(setup.documents._cache._flights._tasks) == prefetch.AT_ONCE
    # Who asks for one that has to wait is not made to wait with it.
    setup.upstream.gate = asyncio.Event()
    setup.upstream.gate.set()
    assert version(await setup.flags(key=keys[-1])) == NOW + 1
    gate.set()
    await landed(setup)
    assert len(setup.upstream.asked) == 2 * len(keys)


async def test_process_that_stops_begins_none(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    await arrived(setup, 1)
    setup.upstream.hold()
    announce(setup, NOW + 1)
    await arrived(setup, 1)
    await setup.documents._cache.stop()
    assert not setup.documents._cache._flights._tasks
    setup.upstream.gate.set()
