"""The load generator against the C floor: what it counts is what happened."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.histogram import Histogram
from benchmarks.processes import EndedError
from benchmarks.servers_under_test import Server, start
from benchmarks.swarm import Swarm
from tests.stream_server.raw import NUMBER, Answer

PATH = Server.path("abc")


def test_every_delivery_is_counted_once_and_in_order(floor: Server, swarm: Swarm) -> None:
    group = swarm.open(PATH, 200)
    assert len(group.shares) == 3
    assert swarm.wait_open(group, 10).met
    for _ in range(3):
        assert swarm.wait_holding(group, floor.announce("abc"), 10).met
    report = swarm.report(group)
    assert (report.open, report.opened, report.deliveries, report.events) == (200, 200, 600, 600)
    assert report.latency.count == 600
    assert report.opening.count == 200
    assert 0 < report.latency.percentile(0.5) <= report.latency.percentile(0.99) <= report.latency.worst
    assert report.ended == report.cut == report.failed == report.refused == report.backwards == report.stale == 0


def test_an_opening_block_is_held_and_is_no_delivery(floor: Server, swarm: Swarm) -> None:
    version = floor.announce("abc")
    group = swarm.open(PATH, 50)
    report = swarm.wait_holding(group, version, 10)
    assert report.met
    assert (report.holding, report.events, report.deliveries) == (50, 50, 0)


def test_groups_are_told_apart(floor: Server, swarm: Swarm) -> None:
    one, other = swarm.open(PATH, 30), swarm.open(Server.path("other"), 40)
    assert swarm.wait_open(one, 10).met
    assert swarm.wait_open(other, 10).met
    assert swarm.wait_holding(other, floor.announce("other"), 10).met
    assert swarm.report(one).deliveries == 0
    assert swarm.report(other, clear=True).deliveries == 40
    assert swarm.report(other).latency.count == 0


def test_a_stream_that_a_dead_server_leaves_is_cut_and_not_ended(tmp_path: Path) -> None:
    with start("floor", tmp_path) as floor, Swarm(floor.port, 200, tmp_path) as swarm:
        group = swarm.open(PATH, 200)
        assert swarm.wait_open(group, 10).met
        floor.process.kill()
        report = swarm.wait_closed(group, 10)
        assert report.met
        assert (report.cut, report.ended, report.open) == (200, 0, 0)


def test_a_refused_connection_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        with Swarm(bound.getsockname()[1], 10, tmp_path) as swarm:
            group = swarm.open(PATH, 10)
            report = swarm.wait_open(group, 0.2)
            assert not report.met
            assert (report.failed, report.opened) == (10, 0)


def test_after_a_storm_all_are_back_and_hold_the_newest(floor: Server, swarm: Swarm) -> None:
    group = swarm.open(PATH, 300)
    assert swarm.wait_open(group, 10).met
    assert swarm.wait_holding(group, floor.announce("abc"), 10).met
    began = swarm.storm(100)
    version = floor.announce("abc")
    report = swarm.wait_holding(group, version, 10)
    assert report.met
    assert (report.open, report.opened) == (300, 600)
    assert report.last_raised >= version > began


def test_who_does_not_read_is_told_when_it_does(floor: Server, swarm: Swarm) -> None:
    group = swarm.open(PATH, 60)
    assert swarm.wait_open(group, 10).met
    swarm.slow(group, 20)
    version = floor.announce("abc")
    while (report := swarm.report(group, version=version)).holding < 40:
        time.sleep(0.01)
    assert not swarm.wait_holding(group, version, 0.1).met
    assert report.holding == 40
    swarm.resume(group)
    assert swarm.wait_holding(group, version, 10).met


def test_a_churn_opens_exactly_as_many_as_were_asked_for(swarm: Swarm) -> None:
    group = swarm.open(PATH, 30, churn=300, at_once=30)
    assert swarm.wait_opened(group, 10, streams=300).met
    report = swarm.wait_closed(group, 10)
    assert (report.opened, report.open) == (300, 0)


def test_what_waits_to_be_opened_can_be_given_up(floor: Server, swarm: Swarm) -> None:
    group = swarm.open(PATH, 300, pace=30)
    while swarm.report(group).open < 3:
        time.sleep(0.01)
    rest = swarm.halt(group)
    assert 3 <= rest.streams < 300
    assert rest.streams == swarm.report(group).open
    assert swarm.wait_holding(rest, floor.announce("abc"), 10).met


def test_more_streams_than_there_is_room_for_are_refused(swarm: Swarm) -> None:
    with pytest.raises(ValueError, match="301 streams are more than the 300"):
        swarm.open(PATH, 301)


def test_a_swarm_that_has_ended_says_so(swarm: Swarm) -> None:
    group = swarm.open(PATH, 1)
    for process in swarm.processes:
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EndedError, match="load generator"):
        swarm.report(group)


@asynccontextmanager
async def scripted(script: list[bytes]) -> AsyncIterator[int]:
    """A server that sends each stream one of `script`, in turn, and ends the connection; gives its port."""
    answered = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await reader.readuntil(b"\r\n\r\n")
        text = script[min(answered, len(script) - 1)]
        answered += 1
        for place in range(len(text)):  # a byte at a time: every state of the parser is met at a border of packets
            writer.write(text[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nAge: 1\r\n\r\n"
EVENT = b'event: environment_updated\ndata: {"updated_at": %s}\n\n'


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + chunk(EVENT % b"1735229888.7601228") + b"0\r\n\r\n", {"ended": 1, "whole": 0, "cut": 0, "events": 1}),
        (HEAD + chunk(EVENT % b"1735229888.0"), {"ended": 0, "cut": 1, "events": 1}),
        (
            HEAD + chunk(EVENT % b"2.0") + chunk(EVENT % b"1.5") + b"0\r\n\r\n",
            {"backwards": 1, "events": 2, "ended": 1},
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n" + EVENT % b"1735229888.5", {"cut": 1, "events": 1, "ended": 0}),
        (SIZED % 63 + EVENT % b"1735229888.5", {"ended": 1, "whole": 1, "cut": 0, "events": 1}),
        (SIZED % 64 + EVENT % b"1735229888.5", {"ended": 0, "cut": 1, "events": 1}),
        (SIZED % 0, {"ended": 1, "cut": 0, "opened": 1}),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", {"refused": 1, "opened": 0, "events": 0}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Enc", {"failed": 1, "opened": 0}),
    ],
    ids=[
        *("clean end", "cut", "backwards", "not chunked", "whole", "shorter than it says", "empty"),
        *("another status", "half a head"),
    ],
)
async def test_what_a_stream_says_is_read_byte_by_byte(text: bytes, expected: dict[str, int], tmp_path: Path) -> None:
    async with scripted([text]) as port:
        with Swarm(port, 1, tmp_path) as swarm:
            group = await asyncio.to_thread(swarm.open, PATH, 1)
            async with asyncio.timeout(30):
                while True:
                    report = await asyncio.to_thread(swarm.report, group)
                    if report.ended + report.cut + report.refused + report.failed:
                        break
            assert {name: getattr(report, name) for name in expected} == expected


@pytest.mark.asyncio
async def test_versions_are_read_to_the_microsecond(tmp_path: Path) -> None:
    script = [HEAD + chunk(EVENT % b"1735229888.7601228")]
    async with scripted(script) as port:
        with Swarm(port, 1, tmp_path) as swarm:
            group = await asyncio.to_thread(swarm.open, PATH, 1)
            exact = await asyncio.to_thread(swarm.wait_reached, group, 1735229888760123, 10)
            above = await asyncio.to_thread(swarm.wait_reached, group, 1735229888760124, 0.05)
    assert exact.met
    assert not above.met


@pytest.mark.asyncio
async def test_a_stream_that_begins_with_less_than_its_client_knew_is_stale(tmp_path: Path) -> None:
    ending = b"0\r\n\r\n"
    script = [HEAD + chunk(EVENT % b"5.0") + ending, HEAD + chunk(EVENT % b"4.0") + ending, HEAD]
    async with scripted(script) as port:
        with Swarm(port, 1, tmp_path) as swarm:
            group = await asyncio.to_thread(swarm.open, PATH, 1, again_max=0)
            await asyncio.to_thread(swarm.wait_opened, group, 10, streams=2)
            async with asyncio.timeout(30):
                while (await asyncio.to_thread(swarm.report, group)).ended < 2:
                    continue
            report = await asyncio.to_thread(swarm.report, group)
    assert (report.stale, report.backwards) == (1, 0)


@pytest.mark.asyncio
async def test_the_floor_sends_the_frames_of_the_stream_server(floor: Server) -> None:
    golden = Path(__file__).parent.parent / "golden"
    async with await Answer.to(f"http://127.0.0.1:{floor.port}", PATH) as first:
        await first.chunk()
        await asyncio.to_thread(floor.announce, "abc")
        event = await first.chunk()
        async with await Answer.to(f"http://127.0.0.1:{floor.port}", PATH) as second:
            opening = await second.chunk()
    assert event is not None
    assert opening is not None
    number = b"1735229888.7601228"
    found = NUMBER.search(event)
    assert found is not None
    assert event.replace(found[1], number) == (golden / "stream_event.sse").read_bytes()
    assert opening.replace(found[1], number) == (golden / "stream_opening.sse").read_bytes()
    lines = (golden / "stream_response.http").read_text().split("\n\n", maxsplit=1)[0].splitlines()[1:]
    names = [line.partition(":")[0].lower() for line in lines if ":" in line and not line.startswith(("event", "data"))]
    assert [name for name in first.headers if name != "date"] == names


def test_percentiles_are_exact_to_two_percent() -> None:
    histogram = Histogram([(1, 98)]) + Histogram([(760, 2)])
    assert histogram.count == 100
    assert histogram.percentile(0.5) == 0.001
    assert histogram.percentile(0.99) == pytest.approx(123.456, rel=0.02)
    assert Histogram().worst == 0.0
