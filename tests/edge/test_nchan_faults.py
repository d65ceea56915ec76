"""nginx, the feeder and NATS killed, restarted and frozen: who listens holds the newest version afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from publisher import Publisher
from tests.edge.nchan_servers import Feeder, Nginx, site
from tests.servers import NatsServer
from tests.stream_server.raw import open_stream, until

pytestmark = [pytest.mark.asyncio, pytest.mark.chaos]


async def test_an_nginx_that_was_killed_is_told_everything_again(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running:
        version = await running.announce()
        await running.told(version)
        running.nginx.kill()
        newer = await running.announce("other")
        running.nginx.start()
        await running.told(version)
        await running.told(newer, "other")


async def test_a_worker_that_was_killed_takes_versions_with_it_and_they_are_told_again(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with site(tmp_path, nats_server, workers=2) as running:
        versions = {f"key{number}": await running.announce(f"key{number}") for number in range(12)}
        for key, version in versions.items():
            await running.told(version, key)
        worker = running.nginx.workers()[0]
        os.kill(worker, signal.SIGKILL)
        await until(lambda: worker not in running.nginx.workers() and len(running.nginx.workers()) == 2, "a new worker")
        for key, version in versions.items():
            await running.told(version, key)


async def test_a_feeder_that_was_killed_catches_up_when_it_is_back(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running:
        before = await running.announce()
        await running.told(before)
        running.feeder.process.kill()
        version = await running.announce()
        assert await running.newest() == before, "nginx goes on with what it knows"
        async with await open_stream(running.nginx.url) as stream:
            running.feeder.start()
            assert await stream.until(version) == [before, version]


async def test_nats_is_restarted(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running:
        await running.told(await running.announce())
        async with await open_stream(running.nginx.url) as stream:
            nats_server.kill()
            await until(lambda: "nats" in running.feeder.health()[1].get("faults", {}), "the feeder's noticing")
            nats_server.start()
            version = await running.announce()
            await stream.until(version)


async def test_a_frozen_nginx_ends_on_the_newest_version(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server, min_interval=0) as running:
        await running.told(await running.announce())
        [worker] = running.nginx.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            await running.announce()
            await until(lambda: running.feeder.health()[0] == 503, "the post that nobody answers", 20)
            version = await running.announce()
        finally:
            os.kill(worker, signal.SIGCONT)
        await running.told(version)
        await running.feeder.well()
        await until(lambda: running.feeder.unsent() == 0, "the second post")
        await running.told(version)


async def test_an_nginx_that_is_away_holds_up_no_other(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running:
        await running.told(await running.announce())
        away = Nginx(tmp_path / "away")  # not started
        feeder = Feeder(tmp_path / "away", nats_server.url, [away, running.nginx])
        running.feeder.process.kill()
        feeder.start()
        try:
            version = await running.announce()
            await running.told(version)
            assert feeder.health()[0] == 503
            away.start()
            await feeder.well()
            async with await open_stream(away.url) as stream:
                await stream.until(version)
            assert feeder.process.stop() == 0
        finally:
            if feeder.process.running:
                feeder.process.kill()
            away.kill()


async def test_two_thousand_environments_are_told_at_the_start(
    tmp_path: Path, nats_server: NatsServer, record_property: Callable[[str, object], None]
) -> None:
    async with Publisher(nats_server.url) as publisher:
        keys = [f"env{number}" for number in range(2000)]
        for first in range(0, len(keys), 100):
            await asyncio.gather(*(publisher.publish(key, timeout=15) for key in keys[first : first + 100]))
    began = time.monotonic()
    async with site(tmp_path, nats_server) as running:
        await until(lambda: running.feeder.unsent() == 0, "telling everything")
        record_property("seconds", round(time.monotonic() - began, 2))
        async with asyncio.TaskGroup() as tasks:
            found = [tasks.create_task(running.newest(key)) for key in keys[::50]]
        assert all(task.result() for task in found)
        posted = running.feeder.figures()[
            f'flagstream_nchan_posted_total{{nginx="127.0.0.1:{running.nginx.feeder_port}"}}'
        ]
        assert posted == len(keys) + 1, "each was told once"
