"""Our client behind a real Varnish: its streams overlap, and they are collapsed all the same."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import httpx
import pytest

from sdk_client import End, EndKind, FlagClient, Hooks, StreamOpened, Update
from tests.edge.clients.site import FEATURE, Site
from tests.servers import NatsServer

pytestmark = pytest.mark.slow

JOIN_WINDOW = 3
LIFE = {"edge": "true", "lifetime": 12, "join_window": JOIN_WINDOW, "heartbeat": 5, "drain": 17, "retry": 0.3}
CLIENTS = 30
PACE = 0.2
"""Seconds between two changes."""

IN_TIME = 4.0
"""Seconds before a stream's end: who asked for his next one earlier has it by then. Two thirds ask so early."""

STANDING = 0.5
"""Seconds by which a loop is late that stands still; between the latest moment to ask and the end there is one."""


class Watched(Hooks):
    """What became of one client's streams, by `time.monotonic()`."""

    def __init__(self) -> None:
        self.opened: list[tuple[float, float]] = []
        """When each was asked for, and when it was open."""
        self.ends: list[tuple[float, End]] = []
        self.staleness: list[float] = []

    def on_stream_opened(self, stream: StreamOpened) -> None:
        self.opened.append((time.monotonic() - stream.seconds, time.monotonic()))

    def on_stream_ended(self, end: End) -> None:
        self.ends.append((time.monotonic(), end))

    def on_update(self, update: Update) -> None:
        self.staleness.append(update.staleness)

    def gaps(self) -> list[tuple[float, float]]:
        """Return when a stream ended before the next was open, and when that had been asked for."""
        ended = [at for at, end in self.ends if end.kind is EndKind.ENDED]
        return [(at, asked) for at in ended for asked in [asked for asked, live in self.opened if live > at][:1]]


async def note_standing(moments: list[float]) -> None:
    """Note for ever when this loop has stood still."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(0.05)
        if time.monotonic() - before > 0.05 + STANDING:
            moments.append(time.monotonic())


def opened(site: Site) -> int:
    lines = httpx.get(f"{site.origins[0].url}/metrics").text.splitlines()
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("flagstream_streams_opened_")))


@pytest.mark.asyncio
async def test_clients_change_streams_without_a_gap_and_still_share_each_of_them(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    watched = [Watched() for _ in range(CLIENTS)]
    stood: list[float] = []
    with Site(tmp_path, nats_server, waiting_room=False, life=LIFE).running() as site:
        key = site.make("Production")[0].key
        noting = asyncio.create_task(note_standing(stood))
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                FlagClient(environment_key=key, api_url=site.edge.url, hooks=each, ready_timeout=60) for each in watched
            ]
            before, began = opened(site), time.monotonic()
            for client in clients:
                await stack.enter_async_context(client)
            without = changes = 0
            slowest = 0.0
            while any(len(each.ends) < 2 for each in watched):
                changes += 1
                asked = time.monotonic()
                version = await asyncio.to_thread(site.set, key, changes)
                slowest = max(slowest, time.monotonic() - asked)
                await asyncio.sleep(PACE)
                without += sum(not client.connected for client in clients if client.counts.streams_opened)
            async with asyncio.timeout(30):
                while not all(client.version >= version for client in clients):
                    await asyncio.sleep(0.05)
            shared, seconds = opened(site) - before, time.monotonic() - began
        noting.cancel()
        await asyncio.wait([noting])
        assert {client.value(FEATURE) for client in clients} == {str(changes)}
    ends = [end.kind for each in watched for _, end in each.ends]
    gaps = [gap for each in watched for gap in each.gaps()]
    assert set(ends) - {EndKind.ENDED} == {EndKind.REPLACED}
    assert without == 0 or gaps, "at no moment was a client without a stream"
    assert not [at - asked for at, asked in gaps if asked < at - IN_TIME], "who asked in time has the next one"
    for at, asked in gaps:
        # The latest moment to ask is a second before the end at least: only a loop that stood still over both is late.
        assert asked < at or any(at - 1 < moment < at + 1 for moment in stood), "everybody asks before the end"
    assert ends.count(EndKind.ENDED) <= len(ends) / 4
    assert shared <= seconds / JOIN_WINDOW + 1, "the edge opens one for all, every join window"
    late = max(staleness for each in watched for staleness in each.staleness)
    assert late < 5 + slowest, "nobody misses a change; the machine takes as long as the slowest took to be made"
