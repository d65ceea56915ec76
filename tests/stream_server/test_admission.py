"""Who gets a stream: capacity, streams of one address, shed level, and what those get who are refused."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from flagsmith.streaming_manager import EventStreamManager

from flagstream.settings import SettingsError
from stream_server.addresses import Addresses
from stream_server.admission import Admission
from stream_server.capacity import Capacity
from stream_server.control import Controls, LiveControls
from stream_server.metrics import Metrics
from tests.servers import NatsServer
from tests.stream_server.raw import (
    Announcer,
    Answer,
    Running,
    open_stream,
    program,
    running,
    settings_for,
    stream_path,
    until,
)

NOW = 1_735_229_888_760_122


def refused(server: Running, reason: str) -> float:
    """Return how often `reason` was given, as Prometheus is told."""
    line = f'flagstream_streams_refused_total{{reason="{reason}"}} '
    [found] = [text for text in server.parts.metrics.exposition().decode().splitlines() if text.startswith(line)]
    return float(found.removeprefix(line))


async def is_admitted(url: str, *, forwarded: str = "", key: str = "abc") -> tuple[bool, Answer]:
    """Open a stream of an environment with a version: who is refused is not told it."""
    answer = await Answer.to(url, stream_path(key), headers={"X-Forwarded-For": forwarded} if forwarded else {})
    assert answer.status == 200
    opening = await answer.chunk()
    assert opening is not None
    assert b"retry: " in opening
    return b"environment_updated" in opening, answer


class Opened:
    """Streams of one test, closed together."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer] = []

    async def one(self, forwarded: str = "") -> bool:
        admitted, answer = await is_admitted(self.url, forwarded=forwarded)
        self.answers.append(answer)
        return admitted

    async def close(self) -> None:
        while self.answers:
            await self.answers.pop().close()


@pytest.mark.asyncio
async def test_over_capacity_a_client_gets_a_stream_that_lives_beats_and_ends_cleanly_without_events() -> None:
    async with running(settings_for(max_streams=2, lifetime=3, heartbeat=0.5)) as server:
        hub = server.parts.hub
        hub.dispatch("abc", NOW)
        async with await open_stream(server.url) as first, await open_stream(server.url) as second:
            assert [await first.version(), await second.version()] == [NOW, NOW]
            began = time.monotonic()
            async with await open_stream(server.url) as third:
                hub.dispatch("abc", NOW + 1)
                assert third.headers["content-type"] == "text/event-stream"
                assert third.headers["transfer-encoding"] == "chunked"
                assert 2 <= float(third.headers["x-stream-lifetime"]) <= 3
                opening, *beats = await third.rest()
                assert time.monotonic() - began >= 2
            assert opening == b"retry: 2000\n\n"
            assert set(beats) == {b": ping\n\n"}
            assert [await first.version(), await second.version()] == [NOW + 1, NOW + 1]
            assert await first.block() is await second.block() is None  # the clean ends, at their own time
        assert refused(server, "capacity") == 1
        assert server.parts.metrics.exposition().count(b"flagstream_streams_refused_total{") == 3
        assert server.parts.admission.refused_open == 0


@pytest.mark.asyncio
async def test_a_place_that_is_left_is_given_again_whatever_the_refused_hold() -> None:
    async with running(settings_for(max_streams=1)) as server:
        server.parts.hub.dispatch("abc", NOW)
        opened = Opened(server.url)
        assert [await opened.one() for _ in range(4)] == [True, False, False, False]
        await opened.answers[0].close()
        await until(lambda: server.parts.hub.open == 3, "the first one's leaving")
        assert await opened.one()
        assert not await opened.one()
        await opened.close()
        await until(lambda: server.parts.hub.open == 0, "the end of all")
        assert server.parts.admission.refused_open == 0


@pytest.mark.asyncio
async def test_head_answers_the_headers_that_get_would() -> None:
    async with running(settings_for(max_streams=1, lifetime=2)) as server:
        for places in (0, 1):  # free; then taken, by the stream of the first round
            async with await Answer.to(server.url, stream_path("abc"), "HEAD") as head:
                assert head.status == 200
            taken = await open_stream(server.url)
            expected = {**taken.headers, "date": head.headers["date"]}
            del expected["transfer-encoding"]
            assert head.headers == expected
            assert server.parts.admission.refused_open == places
            if places:
                await taken.close()
            else:
                holder = taken
        await holder.close()


@pytest.mark.asyncio
async def test_streams_of_one_address_are_limited_and_a_forged_header_changes_nothing() -> None:
    async with running(settings_for(streams_per_address=2, edge=False)) as server:
        server.parts.hub.dispatch("abc", NOW)
        opened = Opened(server.url)
        assert [await opened.one() for _ in range(3)] == [True, True, False]
        assert not await opened.one("203.0.113.1")
        assert server.parts.admission.held == {bytes([127, 0, 0, 1]): 2}
        assert refused(server, "address") == 2
        await opened.close()
        await until(lambda: not server.parts.admission.held, "counts of zero")
        assert await opened.one()
        await opened.close()


@pytest.mark.asyncio
async def test_behind_a_trusted_proxy_each_of_its_clients_has_a_limit_of_its_own() -> None:
    settings = settings_for(streams_per_address=1, trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"], edge=False)
    async with running(settings) as server:
        server.parts.hub.dispatch("abc", NOW)
        opened = Opened(server.url)
        assert await opened.one("203.0.113.1")
        assert await opened.one("203.0.113.2")
        assert not await opened.one("203.0.113.1")
        assert not await opened.one("198.51.100.9, 203.0.113.1, 10.1.2.3")  # the client wrote the first one itself
        assert await opened.one("rubbish\xff, ,,")  # charged to the proxy
        assert not await opened.one()  # so is what has no header
        await opened.close()
        await until(lambda: not server.parts.admission.held, "counts of zero")


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["lifetime", "client", "drain", "cut"])
async def test_counts_return_to_zero_however_streams_end(how: str) -> None:
    settings = settings_for(streams_per_address=2, edge=False, lifetime=2 if how == "lifetime" else 30)
    async with running(settings) as server:
        opened = Opened(server.url)
        for _ in range(3):
            await opened.one()
        admission = server.parts.admission
        assert (sum(admission.held.values()), admission.refused_open) == (2, 1)
        if how == "client":
            await opened.close()
        elif how != "lifetime":
            await server.parts.hub.end_all(clean=how == "drain")
        await until(lambda: not admission.held and not admission.refused_open, "counts of zero")
        assert server.parts.hub.open == 0
        await opened.close()


@pytest.mark.asyncio
async def test_counts_return_to_zero_after_clients_that_reset_their_connection_at_once() -> None:
    async with running(settings_for(streams_per_address=50, edge=False)) as server:
        admission = server.parts.admission
        host, _, port = server.url.removeprefix("http://").partition(":")
        request = f"GET {stream_path('abc')} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
        for number in range(200):
            with socket.create_connection((host, int(port))) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
                client.send(request)
                if number % 2:
                    await asyncio.sleep(0)  # some are read before they are reset, some after
        async with await open_stream(server.url):  # behind all of them in the queue
            await until(lambda: sum(admission.held.values()) + admission.refused_open == 1, "counts of one")
            assert server.parts.hub.open == 1


@pytest.mark.asyncio
async def test_nothing_is_kept_for_a_stream_that_no_setting_limits() -> None:
    async with running(settings_for()) as server, await open_stream(server.url):
        assert server.parts.hub.open == 1
        assert server.parts.admission.held == {}
        assert server.parts.admission.admit("abc", {}).leave is None


@pytest.mark.asyncio
async def test_the_published_python_sdk_does_not_spin_on_an_overloaded_server() -> None:
    # It looks at no status, and comes back at once after every end: 1,000 times a second, if that end comes at once.
    async with running(settings_for(max_streams=1, edge=False)) as server, await open_stream(server.url):
        events: list[Any] = []
        sdk = EventStreamManager(stream_url=server.url + stream_path("abc"), on_event=events.append, daemon=True)
        began = time.monotonic()
        sdk.start()
        try:
            await until(lambda: refused(server, "capacity") > 1, "its second request")
            assert time.monotonic() - began > 5, "the shortest life of the stream that its first one was answered with"
            await asyncio.sleep(0.5)
            assert refused(server, "capacity") == 2
        finally:
            sdk.stop()
            await server.parts.hub.end_all(clean=True)
            await asyncio.to_thread(sdk.join, 10)
    assert not sdk.is_alive()
    assert events == []


class Open:
    """An occupancy that tests set."""

    open = 0


def admission(shares: dict[str, float] | None = None, **changes: Any) -> Admission:
    chosen = {
        "occupancy": Open(),
        "streams": 10,
        "per_address": 0,
        "addresses": Addresses(),
        "shedding": LiveControls(Controls(shares=shares or {})),
        "metrics": Metrics(),
        **changes,
    }
    return Admission(**chosen)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 400, 600), (1.0, 1000, 1000)])
def test_an_operators_share_of_the_new_streams_of_an_environment_is_shed(share: float, least: int, most: int) -> None:
    some = admission({"abc": share})
    assert least <= sum(some.admit("abc", {}).refused == "shed" for _ in range(1000)) <= most
    assert some.admit("other", {}).refused is None


def test_who_would_be_refused_is_told_without_being_counted() -> None:
    some = admission({"abc": 1.0})
    assert some.refusal("abc", {}) == "shed"
    assert some.refused_open == 0


V6 = "2001:db8:0:1::"
PREFIX = bytes.fromhex("20010db800000001")


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("192.0.2.1", [], [], b"\xc0\x00\x02\x01"),
        ("::ffff:192.0.2.1", [], [], b"\xc0\x00\x02\x01"),
        (V6 + "1", [], [], PREFIX),
        (V6 + "ffff", [], [], PREFIX),
        ("fe80::1%eth0", [], [], b"\xfe\x80" + bytes(6)),
        # Without a trusted proxy, what the header says is the client's own invention.
        ("192.0.2.1", ["203.0.113.1"], [], b"\xc0\x00\x02\x01"),
        ("192.0.2.1", ["203.0.113.1"], ["10.0.0.0/8"], b"\xc0\x00\x02\x01"),
        ("10.0.0.1", ["203.0.113.1"], ["10.0.0.0/8"], b"\xcb\x00\x71\x01"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.1"], ["10.0.0.0/8"], b"\xcb\x00\x71\x01"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.1"], ["10.0.0.0/8"], b"\xcb\x00\x71\x01"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.1,10.0.0.2"], ["10.0.0.0/8"], b"\xcb\x00\x71\x01"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], ["10.0.0.0/8"], b"\x0a\x00\x00\x03"),
        ("10.0.0.1", ["203.0.113.1:4711"], ["10.0.0.1"], b"\xcb\x00\x71\x01"),
        ("10.0.0.1", [f"[{V6}2]:4711"], ["10.0.0.1"], PREFIX),
        ("10.0.0.1", [f"{V6}2"], ["10.0.0.1"], PREFIX),
        ("10.0.0.1", ['"203.0.113.1"'], ["10.0.0.1"], b"\xcb\x00\x71\x01"),
        ("::1", ["::ffff:203.0.113.1"], ["::1"], b"\xcb\x00\x71\x01"),
        ("::ffff:10.0.0.1", ["203.0.113.1"], ["::ffff:10.0.0.0/104"], b"\xcb\x00\x71\x01"),
        # Malformed: charged to who passed it on.
        ("10.0.0.1", [""], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("10.0.0.1", ["unknown"], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("10.0.0.1", ["203.0.113.1, 300.1.1.1"], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("10.0.0.1", ["203.0.113.1, [::1"], ["10.0.0.1"], bytes(8)),
        ("10.0.0.1", ["]["], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("10.0.0.1", ["," * 60_000], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("10.0.0.1", ["1" * 60_000], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("10.0.0.1", [" " * 60_000 + "203.0.113.1"], ["10.0.0.1"], b"\xcb\x00\x71\x01"),
        ("10.0.0.1", ["\xff\xfe"], ["10.0.0.1"], b"\x0a\x00\x00\x01"),
        ("not an address", ["203.0.113.1"], ["10.0.0.1"], None),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str, forwarded: list[str], trusted: list[str], client: bytes | None
) -> None:
    headers = [(b"accept", b"*/*"), *((b"x-forwarded-for", value.encode("latin-1")) for value in forwarded)]
    assert Addresses(trusted).client({"client": (peer, 4711), "headers": headers}) == client


def test_a_connection_without_an_address_has_no_limit() -> None:
    some = admission(per_address=1)
    assert [some.admit("abc", {"client": None}).refused for _ in range(3)] == [None] * 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"trusted_proxies": ["10.0.0.0/8", "10.0.0.1/8"]},
            'trusted_proxies: "10.0.0.1/8" has bits beyond its prefix; write 10.0.0.0/8 for the network',
        ),
        *(
            (
                {"trusted_proxies": [wrong]},
                (
                    f'trusted_proxies: "{wrong}" is no address and no network; '
                    "write it like 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"
                ),
            )
            for wrong in ("10.0.0.0/33", "proxy.example.com", "")
        ),
        ({"max_streams": -1}, "--max-streams: -1 is refused; it should be greater than or equal to 0"),
        ({"accept_pace": -0.5}, "--accept-pace: -0.5 is refused; it should be greater than or equal to 0"),
        ({"accept_pace": 1e-9}, "accept_pace = 1e-09: must be 0 for any, or at least 0.1 a second"),
        (
            {"streams_per_address": 5, "edge": True},
            (
                "streams_per_address = 5: must be 0 with edge = true: one stream serves everybody behind the CDN, and "
                "would be charged to, or refused because of, whoever came first"
            ),
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_for(**changes)
    assert caught.value.faults == [fault]


def test_the_check_of_the_settings_says_what_the_open_files_allow() -> None:
    command = [
        "prlimit",
        "--nofile=1024:1024",
        sys.executable,
        "-m",
        "flagstream",
        "serve",
        "--check",
        "--workers",
        "2",
    ]
    environ = {**os.environ, "STREAM_SERVER_MAX_STREAMS": "1000"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.splitlines()[-2:] == [
        "# 784 streams in each process, 1568 in all",
        f"# max_streams = 1000: {Capacity.within(1024, 1000).shortage}",
    ]


@pytest.mark.parametrize(
    ("files", "streams", "ceiling"),
    [(256, 176, 205), (1024, 784, 848), (20_000, 19_620, 19_824), (1_048_576, 1_040_160, 1_048_400)],
)
def test_open_files_are_divided_among_streams_other_requests_and_the_process(
    files: int, streams: int, ceiling: int
) -> None:
    capacity = Capacity.within(files)
    assert (capacity.streams, capacity.ceiling, capacity.shortage) == (streams, ceiling, "")


def test_fewer_streams_than_the_files_allow_are_a_matter_of_the_setting() -> None:
    capacity = Capacity.within(20_000, 5_000)
    assert (capacity.streams, capacity.shortage) == (5_000, "")


@pytest.mark.parametrize("wanted", [19_621, 30_000, 1_000_000])
def test_more_streams_than_the_files_allow_say_which_limit_to_raise(wanted: int) -> None:
    capacity = Capacity.within(20_000, wanted)
    assert capacity.streams == 19_620
    needed = int(capacity.shortage.partition("LimitNOFILE=")[2].split()[0])
    assert Capacity.within(needed, wanted).streams == wanted
    assert Capacity.within(needed - 1, wanted).streams < wanted
    assert capacity.shortage == (
        "open files allow 19620 streams a process (the hard limit is 20000); use more workers, or raise it to "
        f"{needed} by LimitNOFILE={needed} in the systemd unit or `ulimit -n {needed}`"
    )


@pytest.mark.asyncio
async def test_out_of_descriptors_running_streams_go_on_and_nobody_is_reset(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    announcer = Announcer(nats_server)
    await announcer.create()
    await announcer.announce(NOW)
    files, wanted = 256, 230
    room = Capacity.within(files)
    with program(tmp_path, files=files, max_streams=1000, nats_url=nats_server.url, edge="false") as server:
        await server.ready()
        [said] = server.logged("capacity")
        assert (said["open_files"], said["streams_at_most"], said["in_all"]) == (files, room.streams, room.streams)
        [warned] = server.logged("max_streams cannot be held")
        assert warned["reason"] == Capacity.within(files, 1000).shortage
        held = [await is_admitted(server.url) for _ in range(room.streams)]
        assert all(admitted for admitted, _ in held)
        late = [asyncio.create_task(is_admitted(server.url)) for _ in range(wanted - room.streams)]
        try:
            await until(lambda: server.logged("connections wait to be accepted"), "the end of the descriptors")
            await announcer.announce(NOW + 1)
            for _, answer in held:
                assert await answer.version() == NOW + 1
            # Those for whom there was a descriptor are told that it is full; the others wait until a place is left.
            assert sum(task.done() for task in late) < len(late)
            for _, answer in held[:100]:
                await answer.close()
            answered = await asyncio.gather(*late)
            assert 0 < sum(admitted for admitted, _ in answered) < len(late)
            for _, answer in answered:
                await answer.close()
        finally:
            for _, answer in held:
                await answer.close()
