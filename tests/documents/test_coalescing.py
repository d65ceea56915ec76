"""Many wait for one fetch, and nobody for one that began too early."""

from __future__ import annotations

import asyncio

import pytest

from publisher.messages import now
from tests.documents.upstream import CLIENT_KEY, NOW, Setup, Upstream, documents, value, version

pytestmark = pytest.mark.asyncio


async def test_five_hundred_requests_cost_one_fetch(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    gate = setup.upstream.hold()
    requests = [asyncio.create_task(setup.flags(f"?v={NOW}" if index % 2 else "")) for index in range(500)]
    await setup.upstream.arrived.acquire()
    gate.set()
    assert {version(answer) for answer in await asyncio.gather(*requests)} == {NOW}
    assert len(setup.upstream.asked) == 1
    assert setup.sample("document_flights_joined_total") == 499


async def test_fetch_that_began_before_an_update_is_not_joined_after_it(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    early_gate = setup.upstream.hold()
    early = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()

    setup.upstream.version, setup.upstream.value = NOW + 1, "b"
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    late_gate = setup.upstream.hold()
    late = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()
    late_gate.set()
    assert (value(await late), version(await setup.flags())) == ("b", NOW + 1)

    early_gate.set()
    # The slow fetch brings an older document than the one served meanwhile: that one stays, for everybody.
    assert version(await early) == NOW + 1
    assert value(await setup.flags()) == "b"
    assert len(setup.upstream.asked) == 2


@pytest.mark.parametrize("query", ["", "?v="])
async def test_version_that_somebody_made_up_does_not_make_an_old_document_pass_for_a_new_one(
    setup: Setup, query: str
) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    made_up = now() + 299_000_000
    assert version(await setup.flags(f"?v={made_up}")) == NOW  # that fetch was a try for more than will be announced
    setup.upstream.version, setup.upstream.value = NOW + 1, "b"
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    assert value(await setup.flags(query and f"?v={NOW + 1}")) == "b"


async def test_fetch_for_a_version_that_somebody_made_up_is_not_joined_after_an_update(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    gate = setup.upstream.hold()
    early = asyncio.create_task(setup.flags(f"?v={now() + 299_000_000}"))
    await setup.upstream.arrived.acquire()
    setup.upstream.version, setup.upstream.value = NOW + 1, "b"
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    late = asyncio.create_task(setup.flags(f"?v={NOW + 1}"))
    await asyncio.wait_for(setup.upstream.arrived.acquire(), 30)
    gate.set()
    assert value(await late) == "b"
    await early


async def test_later_fetch_of_the_same_version_is_not_covered_by_an_earlier_one(setup: Setup) -> None:
    early_gate = setup.upstream.hold()
    early = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()
    setup.upstream.value = "b"
    setup.versions.advance(CLIENT_KEY, NOW)
    late_gate = setup.upstream.hold()
    late = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()
    late_gate.set()
    assert value(await late) == "b"
    early_gate.set()
    assert value(await early) == "b"
    assert value(await setup.flags()) == "b"


async def test_no_more_than_two_fetches_of_a_document_are_under_way(setup: Setup) -> None:
    gate = setup.upstream.hold()
    requests = []
    for step in range(6):
        setup.versions.advance(CLIENT_KEY, NOW + step)
        setup.upstream.version = NOW + step
        requests.append(asyncio.create_task(setup.flags()))
        if step < 2:
            await setup.upstream.arrived.acquire()
        await asyncio.sleep(0)
    assert len(setup.upstream.asked) == 2
    gate.set()
    for step, request in enumerate(requests):
        assert version(await request) >= NOW + step
    assert len(setup.upstream.asked) <= 4


async def test_client_that_leaves_does_not_end_the_fetch_of_the_others(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    gate = setup.upstream.hold()
    first = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()
    second = asyncio.create_task(setup.flags())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert version(await second) == NOW
    assert len(setup.upstream.asked) == 1


async def test_documents_of_different_keys_do_not_wait_for_each_other(setup: Setup) -> None:
    gate = setup.upstream.hold()
    slow = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()
    setup.upstream.gate = asyncio.Event()
    setup.upstream.gate.set()
    assert value(await setup.flags(key="another-key")) == "a"
    gate.set()
    assert value(await slow) == "a"


async def test_memory_stays_within_its_bytes(upstream: Upstream) -> None:
    limit = 1024 * 1024
    upstream.value = "x" * 100_000
    async with documents(upstream, document_memory_bytes=limit) as setup:
        for index in range(30):
            assert (await setup.flags(key=f"key-{index}")).status_code == 200
        memory = setup.documents._cache._memory
        assert 0 < memory.size <= limit
        assert len(memory) < 12
        # The most recent ones are those that stayed.
        before = len(upstream.asked)
        await setup.flags(key="key-29")
        assert len(upstream.asked) == before


async def test_version_that_only_requests_speak_of_waits_for_the_fetch_under_way(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    gate = setup.upstream.hold()
    first = asyncio.create_task(setup.flags())
    await setup.upstream.arrived.acquire()
    others = [asyncio.create_task(setup.flags(f"?v={NOW + ahead}")) for ahead in range(1, 20)]
    await asyncio.sleep(0.05)
    assert len(setup.upstream.asked) == 1
    setup.upstream.version = NOW + 30
    gate.set()
    assert version(await first) == NOW
    assert {version(answer) for answer in await asyncio.gather(*others)} == {NOW + 30}
    assert len(setup.upstream.asked) == 2
