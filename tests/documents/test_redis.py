"""Documents shared through a real Redis, which may be slow, away or behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from stream_server.documents.counts import Counts
from stream_server.documents.document import Document, DocumentKey
from stream_server.documents.redis_layer import RedisLayer
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Upstream, documents, is_stale, value, version
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.asyncio

FLAGS = DocumentKey("flags", CLIENT_KEY)


@pytest_asyncio.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[RedisLayer]:
    layer = RedisLayer(redis_server.url, 2.0, Counts(CollectorRegistry()))
    yield layer
    await layer.stop()


async def test_slow_old_write_does_not_cover_a_newer_one(layer: RedisLayer) -> None:
    old, new = (Document(NOW + n, NOW, CLIENT_KEY, b"%d" % n) for n in (1, 2))
    same_version_later = Document(NOW + 2, NOW + 9, CLIENT_KEY, b"3")
    for written, held in [(new, new), (old, new), (same_version_later, same_version_later), (new, same_version_later)]:
        await layer.put(FLAGS, written)
        assert await layer.get(FLAGS) == held


async def test_racing_writers_leave_the_newest(layer: RedisLayer) -> None:
    several = [Document(NOW + n % 37, NOW + n, CLIENT_KEY, b"%d" % n) for n in range(200)]
    await asyncio.gather(*(layer.put(FLAGS, each) for each in several))
    assert await layer.get(FLAGS) == max(several, key=lambda each: each.age_order)


async def test_versions_that_differ_by_a_microsecond_are_told_apart(layer: RedisLayer) -> None:
    highest = 2**53 - 1
    await layer.put(FLAGS, Document(highest, 0, CLIENT_KEY, b"new"))
    await layer.put(FLAGS, Document(highest - 1, 1, CLIENT_KEY, b"old"))
    found = await layer.get(FLAGS)
    assert found is not None
    assert found.body == b"new"


async def test_script_that_redis_forgot_is_sent_again(layer: RedisLayer, redis_server: RedisServer) -> None:
    await layer.put(FLAGS, Document(NOW, NOW, CLIENT_KEY, b"1"))
    async with Redis.from_url(redis_server.url) as redis:
        await redis.script_flush()
    await layer.put(FLAGS, Document(NOW + 1, NOW, CLIENT_KEY, b"2"))
    found = await layer.get(FLAGS)
    assert found is not None
    assert found.version == NOW + 1


async def test_names_in_redis_do_not_tell_keys(layer: RedisLayer, redis_server: RedisServer) -> None:
    await layer.put(DocumentKey("flags", SERVER_KEY), Document(NOW, NOW, CLIENT_KEY, b"1"))
    async with Redis.from_url(redis_server.url) as redis:
        (name,) = await redis.keys("*")
        assert SERVER_KEY not in str(name)
        assert await redis.ttl(name) > 0


async def test_second_host_finds_the_document_in_redis(upstream: Upstream, redis_server: RedisServer) -> None:
    for round_ in range(2):
        async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
            setup.versions.advance(CLIENT_KEY, NOW)
            for key in (CLIENT_KEY, SERVER_KEY):
                assert version(await setup.flags(key=key)) == NOW
            assert setup.count("redis") == (0 if round_ == 0 else 2)
            await _written(redis_server, 2)
    assert len(upstream.asked) == 2


async def test_document_in_redis_that_is_behind_is_not_served(upstream: Upstream, redis_server: RedisServer) -> None:
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        await setup.flags()
        await _written(redis_server, 1)
    upstream.version, upstream.value = NOW + 1, "b"
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
        setup.versions.advance(CLIENT_KEY, NOW + 1)
        assert value(await setup.flags()) == "b"


async def test_document_in_redis_is_the_last_good_one(upstream: Upstream, redis_server: RedisServer) -> None:
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
        await setup.flags()
        await _written(redis_server, 1)
    upstream.status = 500
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
        response = await setup.flags()
        assert (value(response), is_stale(response)) == ("a", True)


async def test_refused_key_is_forgotten_in_redis_too(upstream: Upstream, redis_server: RedisServer) -> None:
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        await setup.flags()
        await _written(redis_server, 1)
        upstream.status = 401
        setup.versions.advance(CLIENT_KEY, NOW + 1)
        assert (await setup.flags()).status_code == 401
        await _written(redis_server, 0)


async def test_redis_killed_and_restarted_costs_no_request(upstream: Upstream, redis_server: RedisServer) -> None:
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:

        async def update(step: int) -> None:
            upstream.version = NOW + step
            setup.versions.advance(CLIENT_KEY, NOW + step)
            assert version(await setup.flags()) == NOW + step

        await update(0)
        redis_server.kill()
        began = asyncio.get_running_loop().time()
        for step in range(1, 20):
            await update(step)
        # Those under way failed; after that Redis was left alone but for a probe a second.
        assert 1 <= setup.sample("redis_failures_total") <= 3 + asyncio.get_running_loop().time() - began
        redis_server.start()
        layer = setup.documents._redis
        assert layer is not None
        await asyncio.wait_for(_until(lambda: layer.is_well), 30)
        await update(20)
        await _written(redis_server, 1)


async def test_redis_that_hangs_costs_one_timeout(upstream: Upstream, redis_server: RedisServer) -> None:
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=0.2) as setup:
        await setup.flags()
        redis_server.pause()
        began = asyncio.get_running_loop().time()
        try:
            for index in range(30):
                assert value(await setup.flags(key=f"key-{index}")) == "a"
            seconds = asyncio.get_running_loop().time() - began
            assert 1 <= setup.sample("redis_failures_total") <= 4 + seconds, (
                "a probe a second, not one for each request"
            )
        finally:
            redis_server.resume()


async def test_redis_that_never_was_there_is_passed_over(upstream: Upstream) -> None:
    async with documents(upstream, redis_url=f"redis://127.0.0.1:{free_port()}/0") as setup:
        assert value(await setup.flags()) == "a"


async def test_something_else_in_redis_is_passed_over(upstream: Upstream, redis_server: RedisServer) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        await redis.hset(f"flagstream:document:{FLAGS.digest}", mapping={"version": NOW, "document": b"\xc1"})
    async with documents(upstream, redis_url=redis_server.url, redis_timeout=2.0) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        assert value(await setup.flags()) == "a"
        assert setup.count("upstream") == 1


async def _written(server: RedisServer, documents: int) -> None:
    """Wait until Redis holds so many documents: they are written behind the answers."""
    async with Redis.from_url(server.url) as redis:

        async def until() -> None:
            while await redis.dbsize() != documents:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(until(), 30)


async def _until(condition: object) -> None:
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0.01)
