from __future__ import annotations

import time

import nats
import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from publisher.database import Database, seconds_now
from tests.servers import NatsServer, RedisServer


@pytest.mark.asyncio
async def test_nats_keeps_its_disk_over_a_kill_and_loses_it_when_wiped(nats_server: NatsServer) -> None:
    client = await nats.connect(nats_server.url)
    await client.jetstream().add_stream(name="probe", subjects=["probe"])
    await client.close()
    nats_server.kill()
    nats_server.start()
    client = await nats.connect(nats_server.url)
    assert (await client.jetstream().account_info()).streams == 1
    await client.close()
    nats_server.kill()
    nats_server.wipe()
    nats_server.start()
    client = await nats.connect(nats_server.url)
    assert (await client.jetstream().account_info()).streams == 0
    await client.close()


@pytest.mark.asyncio
async def test_redis_answers(redis_server: RedisServer) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        assert await redis.ping()


@pytest.mark.asyncio
async def test_both_databases_tell_the_time_of_this_machine(database_url: str) -> None:
    database = Database(database_url)
    async with database.read() as session:
        now = (await session.execute(select(seconds_now(database)))).scalar_one()
    await database.close()
    assert abs(now - time.time()) < 5
