"""Counting streams: every stream server answers once, and what is no answer does no harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from nats.aio.msg import Msg

from publisher.counts import StreamCounts, stream_counts
from publisher.messages import COUNTS_SUBJECT, CountsReply, CountsRequest
from tests.broker.conftest import Link, linked
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio


def server(name: str, streams: dict[str, int]) -> Callable[[Msg], Awaitable[None]]:
    async def answer(message: Msg) -> None:
        asked = msgspec.json.decode(message.data, type=CountsRequest)
        counts = {key: streams.get(key, 0) for key in asked.keys}
        await message.respond(msgspec.json.encode(CountsReply(name, counts)))

    return answer


async def test_the_answers_of_all_servers_are_added_up(link: Link) -> None:
    for name, streams in {"one": {"e": 3, "f": 1}, "two": {"e": 4, "other": 9}}.items():
        await link.client.subscribe(COUNTS_SUBJECT, cb=server(name, streams))
    assert await stream_counts(link.client, ["e", "f", "g"]) == StreamCounts({"e": 7, "f": 1, "g": 0}, 2)


async def test_a_server_counts_once_and_nonsense_does_not_count(link: Link) -> None:
    async def babble(message: Msg) -> None:
        for payload in (b"nonsense", b'{"server": 1}', b"\xff"):
            await message.respond(payload)

    await link.client.subscribe(COUNTS_SUBJECT, cb=babble)
    for _ in range(2):
        await link.client.subscribe(COUNTS_SUBJECT, cb=server("one", {"e": 3}))
    assert await stream_counts(link.client, ["e"]) == StreamCounts({"e": 3}, 1)


async def test_no_stream_server_is_told_apart_from_nats_being_away_and_known_at_once(
    nats_server: NatsServer, link: Link
) -> None:
    async with asyncio.timeout(30):
        assert await stream_counts(link.client, ["e"], wait=3600) == StreamCounts({"e": 0}, 0)
        nats_server.kill()
        while link.client.is_connected:
            await asyncio.sleep(0.01)
        assert await stream_counts(link.client, ["e"], wait=3600) is None
    async with linked("nats://127.0.0.1:1") as never:
        began = time.monotonic()
        assert await stream_counts(never.client, ["e"]) is None
        assert time.monotonic() - began < 5
