"""The whole client over real TCP while both servers misbehave at random, with the seed in the test's name."""

from __future__ import annotations

import asyncio
import itertools
from random import Random

import pytest

from sdk_client import Backoff, Change, FlagClient
from tests.sdk_client.scripted import (
    KEY,
    V1,
    Peer,
    Script,
    ScriptedServer,
    answers,
    cuts,
    document,
    event,
    follow,
    serve_document,
)


async def replay_then_cut(peer: Peer) -> None:
    await peer.head()
    await peer.send(b"".join(event(version) for version in (V1, peer.server.version, V1)))
    await peer.cut()


async def newest_then_end(peer: Peer) -> None:
    await peer.head()
    await peer.event(peer.server.version)
    await peer.end()


async def silence(peer: Peer) -> None:
    await peer.head()
    await peer.hold()


async def junk(peer: Peer) -> None:
    await peer.head()
    await peer.send(b"event: environment_updated\ndata: {}\n\ndata\n\n\xff\xff: \0\n" + event(peer.server.version)[:-4])
    await peer.end()


async def late_document(peer: Peer) -> None:
    version, body = peer.server.version, document(peer.server.features)
    await asyncio.sleep(0.05)
    await answers(200, body, X_Flagstream_Version=str(version))(peer)


async def half_a_document(peer: Peer) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[")
    await peer.cut()


STREAMS: list[Script] = [cuts, replay_then_cut, newest_then_end, silence, junk, answers(503), answers(204), follow]
DOCUMENTS: list[Script] = [
    cuts,
    serve_document,
    late_document,
    half_a_document,
    answers(500),
    answers(429, Retry_After="0"),
    answers(200, b"[]", X_Flagstream_Version=str(V1)),
    answers(200, b"[]", X_Flagstream_Version=str(V1), X_Flagstream_Stale="1"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_after_any_faults_the_flags_are_the_newest_and_what_was_heard_leads_there(seed: int) -> None:
    random = Random(seed)
    server = ScriptedServer([*random.choices(STREAMS[:-1], k=15), follow])
    server.document_scripts = [serve_document, *random.choices(DOCUMENTS, k=40)]
    heard: list[Change] = []
    backoff = Backoff(base=0.02, cap=0.05, least=0.01)
    async with server:
        client = FlagClient(environment_key=KEY, api_url=server.url, backoff=backoff, heartbeat=0.05, random=random)
        client.on_change(heard.append)
        async with client:
            for step in range(1, 40):
                server.announce(V1 + step, banner=step)
                await asyncio.sleep(random.uniform(0.0, 0.04))
            server.document_scripts.clear()  # the network holds, and one more change passes over it
            server.announce(V1 + 40, banner=40)
            async with asyncio.timeout(20):
                while client.version != V1 + 40 or client.value("banner") != 40:
                    await asyncio.sleep(0.01)
                while not heard or heard[-1].value != 40:
                    await asyncio.sleep(0)
    versions = [change.version for change in heard]
    assert versions == sorted(versions), "versions never go back"
    for before, after in itertools.pairwise(heard):
        assert after.old == before.new, "each change begins where the one before ended"
    assert client.counts.streams_opened >= 1
    assert len(server.documents) < 200
