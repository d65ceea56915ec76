"""How many events fit into the bytes of a stream, against the bytes themselves."""

from __future__ import annotations

import asyncio
import random

import pytest

from stream_server.budget import EVENT_BYTES, bytes_for, events_that_fit
from stream_server.frames import HEARTBEAT, Frame, encode_event, encode_opening
from tests.stream_server.raw import open_stream, running, settings_for

LONGEST = 30.0


def chunked(data: bytes) -> int:
    return len(b"%x\r\n%s\r\n" % (len(data), data))


def test_no_event_is_longer_than_what_is_counted_with() -> None:
    versions = (random.randrange(10**15, 2**53) for _ in range(50_000))
    longest = max(chunked(encode_event(version)) for version in versions)
    assert EVENT_BYTES - 3 < longest <= EVENT_BYTES


@pytest.mark.parametrize("most", [4096, 65536, 1_000_000])
@pytest.mark.parametrize("heartbeat", [0.5, 15.0])
def test_stream_that_is_full_of_events_and_heartbeats_stays_below_the_limit(most: int, heartbeat: float) -> None:
    events = events_that_fit(most, lifetime=LONGEST, heartbeat=heartbeat)
    event = chunked(encode_event(1_735_229_888_760_123))
    opening = chunked(encode_opening(Frame(1_735_229_888_760_123), 3000))
    heartbeats = int(LONGEST / heartbeat) * chunked(HEARTBEAT)
    body = opening + events * event + heartbeats + len(b"0\r\n\r\n")
    assert body <= most
    assert body > most * 0.85, "what is kept free is little"


def test_bytes_for_events_are_the_least_that_they_fit_into() -> None:
    for events in (4, 122, 5000):
        fewest = bytes_for(events, lifetime=LONGEST, heartbeat=15)
        assert events_that_fit(fewest, lifetime=LONGEST, heartbeat=15) == events
        assert events_that_fit(fewest - 1, lifetime=LONGEST, heartbeat=15) == events - 1


def test_nothing_fits_into_less_than_the_heartbeats_take() -> None:
    assert events_that_fit(1024, lifetime=3600, heartbeat=1) == 0


@pytest.mark.asyncio
async def test_stream_under_endless_changes_lives_its_life_within_its_bytes() -> None:
    limited = settings_for(lifetime=2, heartbeat=0.2, max_bytes=4096)
    began = asyncio.get_running_loop().time()
    fit = events_that_fit(4096, lifetime=2, heartbeat=0.2)
    async with running(limited) as server, await open_stream(server.url, "abc") as stream:
        chunks = [await stream.chunk() or b""]
        version = 1_735_229_888_760_123
        for _ in range(fit // 2 - 1):
            version += 1
            server.parts.hub.dispatch("abc", version)
        body = asyncio.create_task(stream.rest())
        while not body.done():
            version += 1
            server.parts.hub.dispatch("abc", version)
            await asyncio.sleep(0.001)
        lived = asyncio.get_running_loop().time() - began
        chunks += await body
    assert lived > 1.9
    assert sum(map(chunked, chunks)) + len(b"0\r\n\r\n") <= limited.max_bytes
    told = sum(b"environment_updated" in chunk for chunk in chunks)
    assert fit // 2 - 1 <= told <= fit, "half of what fits waits for nothing"
