"""What a generator makes of answers to its fetches, and how many it makes."""

from __future__ import annotations

import asyncio
import time

import pytest

from loadtest.messages import Group, Start, Target
from loadtest.models import MODELS
from loadtest.swarm.descriptors import fetch_connections
from tests.loadtest.swarm.driving import PATIENCE, Driven, now_version
from tests.sdk_client.scripted import KEY, V1, V2, V3, Peer, Script, ScriptedServer, answers, event

LATE = 0.3


@pytest.mark.asyncio
async def test_a_chunked_answer_is_whole_with_its_trailers_and_not_with_what_only_looks_like_its_end() -> None:
    async def in_pieces(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Flagstream-Version: 0\r\n\r\n")
        await asyncio.sleep(LATE / 3)
        await peer.raw(b"8\r\n[\r\n0\r\n\r\n")
        await asyncio.sleep(LATE / 3)
        await peer.raw(b"\r\n1\r\n]\r\n0\r\n")
        await asyncio.sleep(LATE / 3)
        await peer.raw(b"Checked: yes\r\n\r\n")

    async with ScriptedServer(document_scripts=[in_pieces] * 2) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-ios", fetches=True)
        told = await driven.until(lambda told: told.counts["fetches"] == 1)
        assert (told.histograms["fetch"].percentile(0.0) or 0) >= LATE
        server.announce(now_version())
        told = await driven.until(lambda told: told.counts["fetches"] == 2)
        assert (told.counts["fetches_failed"], told.errors) == (0, {})


@pytest.mark.asyncio
async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def until_closed(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 200 OK\r\nX-Flagstream-Version: %d\r\n\r\n[" % V1)
        await asyncio.sleep(LATE)
        await peer.raw(b"]")
        peer._writer.close()

    async with ScriptedServer(document_scripts=[until_closed]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-ios", fetches=True)
        told = await driven.until(lambda told: told.counts["fetches"] == 1)
        assert (told.histograms["fetch"].percentile(0.0) or 0) >= LATE
        assert (told.counts["fetches_failed"], told.errors) == (0, {})


@pytest.mark.asyncio
async def test_an_answer_that_breaks_off_or_breaks_its_framing_has_failed() -> None:
    async def breaks_off(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")
        peer._writer.close()

    async def breaks_its_framing(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsome\r\n")

    scripts: list[Script] = [breaks_off, breaks_its_framing]
    async with ScriptedServer(document_scripts=scripts) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-ios", 2, fetches=True)
        told = await driven.until(lambda told: told.counts["fetches"] == 2)
        assert told.counts["fetches_failed"] == 2
        assert told.errors == {"fetch: cut off without an end": 1, "fetch: a chunk without a size": 1}


@pytest.mark.asyncio
async def test_a_server_that_begins_no_handshake_holds_up_its_fetch_and_nothing_else() -> None:
    greeted = asyncio.Event()

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(1)
            greeted.set()
            await reader.read()
        finally:  # its task may be cancelled with the loop
            writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    async with server, Driven() as driven:
        port = server.sockets[0].getsockname()[1]
        await driven.open(port, "flagsmith-go", fetches=True, loads=True, where={"tls": True}, timeout=2.0)
        async with asyncio.timeout(PATIENCE):
            await greeted.wait()
        assert (await driven.report()).counts["fetches_failed"] == 0  # or all streams had waited as long
        told = await driven.until(lambda told: told.counts["fetches_failed"] >= 1)
        assert told.errors == {"fetch: no answer in time": told.counts["fetches_failed"]}


@pytest.mark.asyncio
async def test_go_opens_no_stream_before_it_has_its_flags_and_asks_again_as_its_clock_says() -> None:
    fraction = 0.4
    async with ScriptedServer(document_scripts=[answers(503)]) as server, Driven() as driven:
        await asyncio.sleep((fraction - time.time()) % 1.0)
        await driven.open(server.port, "flagsmith-go", fetches=True, loads=True)
        told = await driven.until(lambda told: told.counts["catch_ups"] == 1)
        assert [request.path.rpartition("/")[0] for request in server.requests] == [
            *("/api/v1/flags", "/api/v1/flags"),
            f"/sse/environments/{KEY}",
        ]
        first, again = (request.at for request in server.documents)
        shown = (first + time.time() - asyncio.get_running_loop().time()) % 1.0
        # It waits for longer the later in a second it is answered, and that may have been early in the next one.
        assert again - first >= 0.2 + min(shown, 1.0 - shown)
        assert (told.counts["fetches"], told.counts["fetches_failed"], told.lost) == (2, 1, {})


@pytest.mark.asyncio
async def test_who_does_not_wait_for_its_flags_opens_its_stream_after_a_fetch_that_failed() -> None:
    async with ScriptedServer(document_scripts=[answers(503)]) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-python", fetches=True, loads=True)
        told = await driven.until(lambda told: told.now.open == 1 and told.counts["fetches"] == 2)
        assert [request.path.rpartition("/")[0] for request in server.requests] == [
            *("/api/v1/flags", f"/sse/environments/{KEY}"),
            "/api/v1/flags",  # because of the version that its stream told
        ]
        assert told.counts["fetches_failed"] == 1


@pytest.mark.asyncio
async def test_what_is_told_while_a_fetch_is_planned_is_had_by_that_fetch() -> None:
    async def tells_three(peer: Peer) -> None:
        await peer.head()
        await peer.send(event(V1) + event(V2) + event(V3))
        await peer.hold()

    async with ScriptedServer(scripts=[tells_three], version=V3) as server, Driven() as driven:
        await driven.open(server.port, "flagstream", fetches=True)
        await driven.until(lambda told: told.counts["fetches"] == 1)
        await asyncio.sleep(0.5)  # in which another one would have been due
        assert (await driven.report()).counts["fetches"] == 1
        assert [request.query for request in server.documents] == [f"v={V3}"]


@pytest.mark.asyncio
async def test_what_javascript_drops_during_a_fetch_is_counted_and_is_no_error_of_anybody() -> None:
    async def tells_three(peer: Peer) -> None:
        await peer.head()
        await peer.send(event(V1) + event(V2) + event(V3))
        await peer.hold()

    async with ScriptedServer(scripts=[tells_three], version=V3) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-js", fetches=True)
        told = await driven.until(lambda told: told.counts["fetches"] == 1)
        assert (told.counts["events"], told.counts["events_dropped"], told.errors) == (3, 2, {})


@pytest.mark.parametrize(("model", "fetches"), [("flagsmith-go", 1), ("flagsmith-ios", 2)])
@pytest.mark.asyncio
async def test_what_is_told_during_a_fetch_is_fetched_unless_it_brought_that_already(model: str, fetches: int) -> None:
    async def tells_two(peer: Peer) -> None:
        await peer.head()
        await peer.send(event(V1) + event(V2))
        await peer.hold()

    async with ScriptedServer(scripts=[tells_two], version=V2) as server, Driven() as driven:
        await driven.open(server.port, model, fetches=True)
        await driven.until(lambda told: told.counts["fetches"] == fetches)
        assert (await driven.report()).counts["fetches"] == fetches


@pytest.mark.asyncio
async def test_what_a_fetch_waits_for_a_connection_is_told_apart_from_what_its_answer_takes() -> None:
    all_want = asyncio.Event()

    async def takes_its_time(peer: Peer) -> None:
        await peer.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")  # which is not the answer
        await all_want.wait()
        await asyncio.sleep(LATE)
        await answers(200, b"[]", X_Flagstream_Version=str(peer.server.version))(peer)

    async with ScriptedServer(document_scripts=[takes_its_time] * 3) as server, Driven() as driven:
        await driven.open(server.port, "flagsmith-ios", 3, fetches=True, fetchers=1)
        await driven.until(lambda told: told.counts["catch_ups"] == 3)
        all_want.set()
        told = await driven.until(lambda told: told.counts["fetches"] == 3)
        assert (told.times("fetch"), told.times("fetch_queued"), told.times("fetch_answered")) == (3, 3, 3)
        assert told.longest("fetch_queued") >= 2 * LATE
        assert (told.histograms["fetch_answered"].percentile(0.0) or 0) >= LATE
        assert told.longest("fetch") >= 3 * LATE


@pytest.mark.parametrize(
    ("clients", "near", "files", "expected"),
    [
        ([100], [False], 20_000, [100]),
        ([19_000], [False], 20_000, [350]),
        ([19_700], [False], 20_000, [128]),
        ([3_000, 400], [False, False], 20_000, [3_000, 400]),
        ([9_000, 9_000], [False, False], 20_000, [425, 425]),
        ([0, 19_000], [False, False], 20_000, [1, 350]),
        ([8_000], [True], 20_000, [128]),
        ([500, 3_000], [True, False], 20_000, [128, 3_000]),
    ],
    ids=[
        *("one a client", "half of what is left", "never fewer", "by target", "shared by targets", "none without need"),
        *("a number on this host", "by target where one is on this host"),
    ],
)
def test_connections_for_fetching_are_as_many_as_clients_where_files_are_enough(
    clients: list[int], near: list[bool], files: int, expected: list[int]
) -> None:
    start = Start(
        process=0,
        seed=1,
        targets=[Target(name="origin", host="127.0.0.1", port=9) for _ in clients],
        environments=[],
        groups=[
            Group(name="g", model=MODELS["flagstream"], target=target, first=0, count=count)
            for target, count in enumerate(clients)
        ],
        epoch=0.0,
        began=0.0,
    )
    assert fetch_connections(start, files, near) == expected
