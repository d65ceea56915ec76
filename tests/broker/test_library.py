"""`Publisher` and `SyncPublisher`, as another management API uses them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from publisher import Publisher, PublisherClosedError, PublishError, PublishTimeoutError, SyncPublisher, messages
from publisher.messages import InvalidKeyError, InvalidVersionError, broker
from tests.broker.conftest import Link
from tests.servers import NatsServer, free_port

T0 = 1_735_229_888_760_122


async def stored(link: Link, key: str = "e") -> int:
    return (await broker.read_newest(link.client)).versions[key]


@pytest.mark.asyncio
async def test_a_change_is_in_the_broker_when_the_call_returns(nats_server: NatsServer, link: Link) -> None:
    async with Publisher(nats_server.url) as publisher:
        before = messages.now()
        version = await publisher.publish("e")
        assert before <= version <= messages.now()
        assert await stored(link) == version


@pytest.mark.asyncio
async def test_changes_of_one_key_get_ever_higher_versions_also_at_once(nats_server: NatsServer, link: Link) -> None:
    async with Publisher(nats_server.url, timeout=10) as publisher:
        versions = await asyncio.gather(*(publisher.publish("e") for _ in range(50)))
        assert len(set(versions)) == 50
        assert await stored(link) == max(versions)


@pytest.mark.asyncio
async def test_a_change_is_newer_than_what_a_clock_ahead_of_ours_announced(nats_server: NatsServer, link: Link) -> None:
    async with Publisher(nats_server.url) as publisher:
        ahead = messages.now() + 60_000_000
        assert await publisher.publish("e", version=ahead) == ahead
        assert await publisher.publish("e") == ahead + 1
        assert await stored(link) == ahead + 1


@pytest.mark.asyncio
async def test_a_given_time_keeps_the_maximum(nats_server: NatsServer, link: Link) -> None:
    noon = datetime(2025, 6, 1, 12, 0, 0, 250_875, tzinfo=UTC)
    async with Publisher(nats_server.url) as publisher:
        version = await publisher.publish("e", noon)
        assert version == 1_748_779_200_250_875
        assert await publisher.publish("e", noon - timedelta(seconds=1)) == version
        assert await publisher.publish("e", noon.replace(tzinfo=None)) == version
        assert await publisher.publish("e", noon.astimezone(timezone(timedelta(hours=5)))) == version
        assert await stored(link) == version


@pytest.mark.asyncio
async def test_what_can_never_be_announced_is_refused_at_once(nats_server: NatsServer) -> None:
    async with Publisher(nats_server.url) as publisher:
        with pytest.raises(InvalidKeyError):
            await publisher.publish("a.b")
        with pytest.raises(InvalidVersionError):
            await publisher.publish("e", version=messages.now() + 2 * messages.MAX_AHEAD)
        with pytest.raises(InvalidVersionError):
            await publisher.publish("e", version=0)
        with pytest.raises(TypeError):
            await publisher.publish("e", datetime.now(UTC), version=T0)


@pytest.mark.asyncio
async def test_a_version_far_ahead_in_the_broker_is_an_error_that_says_so(nats_server: NatsServer, link: Link) -> None:
    async with Publisher(nats_server.url) as publisher:
        await publisher.publish("e")
        await link.client.request(
            messages.subject("e"), messages.encode(messages.now() + 2 * messages.MAX_AHEAD), timeout=30
        )
        with pytest.raises(PublishError, match="ahead"):
            await publisher.publish("e")


@pytest.mark.asyncio
async def test_a_call_while_nats_is_away_ends_in_time_with_what_was_not_announced() -> None:
    async with Publisher(f"nats://127.0.0.1:{free_port()}", timeout=0.2) as publisher:
        with pytest.raises(PublishTimeoutError) as caught:
            await asyncio.wait_for(publisher.publish("e", version=T0), 10)
    assert (caught.value.key, caught.value.version) == ("e", T0)
    assert "not connected" in caught.value.reason


@pytest.mark.asyncio
async def test_a_call_that_nats_interrupts_succeeds_when_it_is_back_in_time(nats_server: NatsServer) -> None:
    async with Publisher(nats_server.url, timeout=20) as publisher:
        await publisher.publish("e")
        nats_server.kill()
        nats_server.wipe()
        call = asyncio.ensure_future(publisher.publish("e"))
        nats_server.start()
        assert await call > 0


@pytest.mark.asyncio
async def test_a_closed_publisher_says_so(nats_server: NatsServer) -> None:
    publisher = Publisher(nats_server.url)
    with pytest.raises(PublisherClosedError):
        await publisher.publish("e")
    async with publisher:
        await publisher.publish("e")
    with pytest.raises(PublisherClosedError):
        await publisher.publish("e")


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_code_without_asyncio_publishes_from_many_threads_over_one_connection(nats_server: NatsServer) -> None:
    with SyncPublisher(nats_server.url, timeout=10) as publisher:
        assert "flagstream publisher" not in threads()
        with ThreadPoolExecutor(8) as pool:
            versions = list(pool.map(lambda _: publisher.publish("e"), range(40)))
        assert len(set(versions)) == 40
        assert "flagstream publisher" in threads()
    assert "flagstream publisher" not in threads()
    with pytest.raises(PublisherClosedError):
        publisher.publish("e")


def test_code_without_asyncio_is_told_in_time_that_nats_is_away() -> None:
    with SyncPublisher(f"nats://127.0.0.1:{free_port()}", timeout=0.2) as publisher:
        began = time.monotonic()
        with pytest.raises(PublishTimeoutError):
            publisher.publish("e")
        assert time.monotonic() - began < 10


FORKING = """
import os, sys
from publisher import SyncPublisher

publisher = SyncPublisher(sys.argv[1], timeout=10)
first = publisher.publish("parent")
child = os.fork()
if child == 0:
    with publisher:
        os._exit(0 if publisher.publish("child") > 0 else 1)
_, status = os.waitpid(child, 0)
second = publisher.publish("parent")
print(os.waitstatus_to_exitcode(status), second > first)
"""

LEAVING = """
import sys
from publisher import SyncPublisher

print(SyncPublisher(sys.argv[1], timeout=10).publish("e") > 0)
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )


def test_parent_and_child_of_a_fork_each_publish_over_a_connection_of_their_own(nats_server: NatsServer) -> None:
    done = run(FORKING, nats_server.url)
    assert done.stdout.split() == ["0", "True"], done.stderr
    assert done.stderr == ""


def test_a_program_that_closes_nothing_ends_cleanly(nats_server: NatsServer) -> None:
    done = run(LEAVING, nats_server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_the_library_loads_neither_database_nor_web_framework_nor_settings() -> None:
    done = run(
        "import sys; from publisher import Publisher, SyncPublisher;"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & "
        "{'sqlalchemy', 'starlette', 'uvicorn', 'structlog', 'pydantic', 'alembic', 'redis', 'httpx', 'jinja2'}))"
    )
    assert done.stdout == "[]\n", done.stderr


def test_importing_the_package_loads_not_even_nats() -> None:
    done = run("import sys, publisher; print('nats' in sys.modules); publisher.Publisher; print('nats' in sys.modules)")
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_every_exported_name_is_there() -> None:
    import publisher  # noqa: PLC0415 - the package itself is under test

    assert all(getattr(publisher, name).__module__ == "publisher.library" for name in publisher.__all__)
    with pytest.raises(AttributeError):
        _ = publisher.Nothing
