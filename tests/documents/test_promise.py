"""The promise as a whole: who was told of a version gets it or a newer one, and nobody sees versions go back."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stream_server.versions import SharedVersions
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Setup, Upstream, documents, is_stale, value, version
from tests.servers import RedisServer

pytestmark = pytest.mark.asyncio

CHANGES = 60


@pytest.mark.parametrize("with_redis", [False, True])
async def test_workers_under_change_never_serve_less_than_was_announced(
    upstream: Upstream, redis_server: RedisServer, tmp_path: Path, with_redis: bool
) -> None:
    chosen = random.Random(7)
    upstream.delay = lambda: chosen.choice((0, 0, 0.002, 0.01, 0.05))
    upstream.value = NOW
    settings: dict[str, object] = {"snapshot_dir": str(tmp_path / "snapshot")}
    if with_redis:
        settings |= {"redis_url": redis_server.url, "redis_timeout": 2.0}
    ended = asyncio.Event()
    answers = 0

    async def client(setup: Setup, key: str) -> None:
        nonlocal answers
        last = 0
        while not ended.is_set():
            announced = setup.versions.newest(CLIENT_KEY)
            query = f"?v={announced}" if chosen.random() < 0.5 and announced else ""
            response = await setup.flags(query, key=key)
            content = value(response)
            assert isinstance(content, int)
            assert not is_stale(response)
            assert announced <= version(response) <= content, "less than was announced, or a label newer than the flags"
            assert last <= version(response), "a version went back"
            last, answers = version(response), answers + 1
            await asyncio.sleep(chosen.random() * 0.004)
        assert last >= NOW

    async with AsyncExitStack() as stack:
        workers = []
        for index in range(2):
            table = SharedVersions(str(tmp_path / "versions"), 64, 2, index)
            stack.callback(table.close)
            workers.append(await stack.enter_async_context(documents(upstream, table, **settings)))
        workers[0].versions.advance(CLIENT_KEY, NOW)
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                for key in (CLIENT_KEY, SERVER_KEY):
                    for _ in range(4):
                        group.create_task(client(worker, key))
            step = 0
            while step < CHANGES or answers <= CHANGES:
                step += 1
                # As the publisher does: changed before it is announced, and a body may be ahead of its label.
                upstream.value = NOW + step
                await asyncio.sleep(0.002)
                upstream.version = NOW + step
                await asyncio.sleep(chosen.random() * 0.02)
                chosen.choice(workers).versions.advance(CLIENT_KEY, NOW + step)
            for worker in workers:
                assert version(await worker.flags()) == NOW + step
            ended.set()
        # Two workers, two keys, and now and then a label that was behind: far fewer fetches than answers.
        assert len(upstream.asked) < answers
