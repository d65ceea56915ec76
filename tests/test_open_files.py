"""What is closed gives its descriptors back: pytest's own look for sockets left open depends on the collector."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from publisher import SyncPublisher
from publisher.messages import broker
from sdk_client import FlagClient
from tests.sdk_client.scripted import ScriptedServer
from tests.servers import NatsServer

ROUNDS = 10


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def given_back(before: int) -> None:
    """Wait until no more descriptors are open than before; the collector, which would close them too, is off."""
    async with asyncio.timeout(30):
        while open_files() > before:
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_connections_to_nats_and_flag_clients_leave_no_descriptor_behind(nats_server: NatsServer) -> None:
    async def connect_and_close() -> None:
        connected = asyncio.Event()
        client = await broker.connect(
            [nats_server.url],
            name="test",
            on_connected=connected.set,
            on_disconnected=lambda: None,
            on_error=lambda _: None,
        )
        await connected.wait()
        await client.close()

    async with ScriptedServer() as server:

        async def follow_and_close() -> None:
            async with FlagClient(environment_key="abc", api_url=server.url):
                pass

        await connect_and_close()  # what is opened once and kept, such as the system's list of authorities
        await follow_and_close()
        gc.collect()
        gc.disable()
        try:
            before = open_files()
            for _ in range(ROUNDS):
                await connect_and_close()
                await follow_and_close()
            await given_back(before)
        finally:
            gc.enable()


def test_a_publisher_for_scripts_leaves_no_descriptor_behind(nats_server: NatsServer) -> None:
    def publish_and_close() -> None:
        publisher = SyncPublisher([nats_server.url])
        publisher.publish("an-environment")
        publisher.close()

    publish_and_close()
    gc.collect()
    before = open_files()
    for _ in range(ROUNDS):
        publish_and_close()
    assert open_files() <= before
