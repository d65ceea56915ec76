"""Our client behind a real Varnish: its streams overlap, and they are collapsed all the same."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from sdk_client import End, EndKind, FlagClient, Hooks, Update
from tests.edge.clients.site import FEATURE, Site
from tests.servers import NatsServer

pytestmark = pytest.mark.slow

LIFE = {"edge": "true", "lifetime": 8, "join_window": 3, "heartbeat": 1, "drain": 13, "retry": 0.3}
CLIENTS = 30
CHANGES = 80
"""One every 0.2 s: two lifetimes."""


class Watched(Hooks):
    def __init__(self) -> None:
        self.ends: list[End] = []
        self.staleness: list[float] = []

    def on_stream_ended(self, end: End) -> None:
        self.ends.append(end)

    def on_update(self, update: Update) -> None:
        self.staleness.append(update.staleness)


def opened(site: Site) -> int:
    lines = httpx.get(f"{site.origins[0].url}/metrics").text.splitlines()
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("flagstream_streams_opened_")))


@pytest.mark.asyncio
async def test_clients_change_streams_without_a_gap_and_still_share_each_of_them(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    watched = Watched()
    with Site(tmp_path, nats_server, waiting_room=False, life=LIFE).running() as site:
        key = site.make("Production")[0].key
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                FlagClient(environment_key=key, api_url=site.edge.url, hooks=watched, ready_timeout=60)
                for _ in range(CLIENTS)
            ]
            before = opened(site)
            for client in clients:
                await stack.enter_async_context(client)
            without = 0
            version = 0
            for number in range(CHANGES):
                version = await asyncio.to_thread(site.set, key, number)
                await asyncio.sleep(0.2)
                without += sum(not client.connected for client in clients if client.counts.streams_opened)
            async with asyncio.timeout(30):
                while not all(client.version >= version for client in clients):
                    await asyncio.sleep(0.05)
            shared = opened(site) - before
        assert {client.value(FEATURE) for client in clients} == {str(CHANGES - 1)}
    ended = [end for end in watched.ends if end.kind is EndKind.ENDED]
    assert {end.kind for end in watched.ends} - {EndKind.ENDED} == {EndKind.REPLACED}
    # A busy machine may not open the next stream in the seconds that there are for it.
    assert without == 0 or ended, "at no moment was a client without a stream"
    assert len(ended) <= len(watched.ends) / 4
    assert len(watched.ends) >= 2 * CLIENTS
    assert shared <= len(watched.ends) / 10, "the edge opens one for all, every join window"
    assert max(watched.staleness) < 5
