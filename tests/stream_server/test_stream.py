"""The stream path, byte by byte, over a real socket."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from publisher.messages import now, surrogate_key
from stream_server.descriptor_stream import DescriptorStream
from tests.stream_server.raw import Answer, CutError, Running, open_stream, running, settings_for, stream_path, until

pytestmark = pytest.mark.asyncio

GOLDEN = Path(__file__).parents[1] / "golden"
ALIASES = (
    "/sse/environments/abc/stream",
    "/sse/environments/abc/stream/",
    "//sse/environments/abc/stream",
    "/sse/abc/stream",
    "//sse/abc/stream/",
    "/sse/environments/abc/stream?lastEventId=7&x=%20",
)
VERSION = 1735229888760123


def without(head: bytes, *names: bytes) -> bytes:
    return b"".join(line for line in head.splitlines(keepends=True) if line.partition(b":")[0] not in names)


async def test_head_and_first_block_are_those_of_the_golden_file() -> None:
    async with running(settings_for(lifetime=30, join_window=20)) as server:
        server.parts.hub.dispatch("abc", VERSION)
        async with await open_stream(server.url) as stream:
            opening = await stream.chunk()
            assert opening is not None
            head = without(stream.head, b"date", b"surrogate-key")  # the second one only behind an edge
            assert head + opening == (GOLDEN / "stream_response.http").read_bytes()


async def test_streams_behind_an_edge_carry_the_name_that_they_are_purged_by_and_others_do_not() -> None:
    name = surrogate_key("stream", "abc")
    async with running(settings_for(edge=True)) as server:
        for method in ("GET", "HEAD"):
            for path in ALIASES:
                async with await Answer.to(server.url, path, method) as stream:
                    assert stream.headers["surrogate-key"] == name, path
        async with await open_stream(server.url, "other") as other:
            assert other.headers["surrogate-key"] == surrogate_key("stream", "other")
        async with await open_stream(server.url, "no.key") as none:
            assert "surrogate-key" not in none.headers
    async with (
        running(settings_for(edge=True, max_streams=1)) as server,
        await open_stream(server.url),
        await open_stream(server.url) as refused,
    ):
        assert refused.headers["surrogate-key"] == name, "it is at the same address as what it stands for"
    async with running(settings_for(edge=False)) as server, await open_stream(server.url) as stream:
        assert "surrogate-key" not in stream.headers


async def test_aliases_open_the_stream_of_the_same_environment() -> None:
    async with running(settings_for()) as server:
        server.parts.hub.dispatch("abc", VERSION)
        for path in ALIASES:
            async with await Answer.to(server.url, path) as stream:
                assert stream.status == 200, path
                assert await stream.version() == VERSION, path


async def test_any_key_opens_an_idle_stream() -> None:
    async with running(settings_for(heartbeat=0.05)) as server:
        for key in ("never-heard-of", "with.dot", "%20", "a/b", "x" * 200, "", "%ff", "%0a", "environments"):
            async with await open_stream(server.url, key) as stream:
                assert await stream.chunk() == b"retry: 2000\n\n", key
                assert await stream.chunk() == b": ping\n\n", key


async def test_unknown_key_is_rejected_only_when_asked_to_and_only_once_versions_are_read() -> None:
    async with running(settings_for(unknown_keys="reject")) as server:
        async with await open_stream(server.url, "abc") as stream:
            assert await stream.chunk() == b"retry: 2000\n\n"
        server.parts.feed.ready = True
        async with await Answer.to(server.url, stream_path("abc")) as refused:
            assert refused.status == 404
            assert await refused.json() == {"detail": "Unknown environment key"}
            assert refused.headers["access-control-allow-origin"] == "*"
        server.parts.hub.dispatch("abc", VERSION)
        async with await open_stream(server.url, "abc") as stream:
            assert await stream.version() == VERSION


async def test_change_reaches_open_streams_as_one_write() -> None:
    async with running(settings_for()) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        server.parts.hub.dispatch("abc", VERSION)
        assert await stream.chunk() == (GOLDEN / "stream_event.sse").read_bytes()


async def test_older_and_equal_versions_are_not_sent() -> None:
    async with running(settings_for()) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        for later in (20, 10, 20, 30):
            server.parts.hub.dispatch("abc", VERSION + later)
            await asyncio.sleep(0.01)
        assert await stream.until(VERSION + 30) == [VERSION + 20, VERSION + 30]


async def test_other_environments_hear_nothing() -> None:
    async with running(settings_for(heartbeat=0.1)) as server, await open_stream(server.url, "other") as stream:
        await stream.chunk()
        server.parts.hub.dispatch("abc", VERSION)
        assert [await stream.chunk() for _ in range(3)] == [b": ping\n\n"] * 3


async def test_heartbeat_is_a_comment_and_comes_in_time() -> None:
    began = time.monotonic()
    async with running(settings_for(heartbeat=0.2)) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        assert [await stream.chunk() for _ in range(3)] == [b": ping\n\n"] * 3
        assert time.monotonic() - began > 0.35


async def test_stream_ends_cleanly_never_before_its_lifetime_and_the_connection_serves_the_next() -> None:
    began = time.monotonic()  # a busy machine may show the head long after it has left
    async with running(settings_for(lifetime=3)) as server, await open_stream(server.url) as stream:
        announced = float(stream.headers["x-stream-lifetime"])
        await stream.rest()
        assert time.monotonic() - began > announced
        assert announced == 3
        await until(lambda: server.parts.hub.open == 0, "the stream's leaving")
        await stream.ask(stream_path("abc"))
        assert await stream.chunk() == b"retry: 2000\n\n"


async def test_lifetimes_and_retry_are_exact_behind_an_edge_and_random_without_one() -> None:
    async with running(settings_for(edge=True, lifetime=20)) as server:
        streams = [await open_stream(server.url) for _ in range(10)]
        assert {stream.headers["x-stream-lifetime"] for stream in streams} == {"20"}
        assert {await stream.chunk() for stream in streams} == {b"retry: 2000\n\n"}
        for stream in streams:
            await stream.close()
    async with running(settings_for(edge=False, lifetime=20)) as server:
        streams = [await open_stream(server.url) for _ in range(10)]
        assert len({stream.headers["x-stream-lifetime"] for stream in streams}) > 5
        retries = {int((await stream.chunk() or b"").split()[1]) for stream in streams}
        assert len(retries) > 5
        assert all(1000 <= retry <= 3000 for retry in retries)
        for stream in streams:
            await stream.close()


async def test_short_lifetime_is_never_jittered_below_two_seconds() -> None:
    async with running(settings_for(edge=False, lifetime=2)) as server:
        for _ in range(5):
            async with await open_stream(server.url) as stream:
                assert float(stream.headers["x-stream-lifetime"]) == 2


async def test_head_is_answered_at_once_with_the_headers_of_a_stream() -> None:
    async with running(settings_for(lifetime=30, join_window=20)) as server:
        async with await Answer.to(server.url, stream_path("abc"), "HEAD") as answer:
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["surrogate-control"] == "max-age=20"
            assert "transfer-encoding" not in answer.headers
            await answer.ask("/health/liveness")
            assert await answer.json() == {"status": "alive"}
        assert server.parts.hub.open == 0


async def test_preflight_of_the_browser_sdk_is_allowed() -> None:
    asked = "X-Environment-Key, Content-Type, Flagsmith-SDK-User-Agent, Flagsmith-Application-Version"
    headers = {"Origin": "https://app", "Access-Control-Request-Headers": asked}
    async with (
        running(settings_for()) as server,
        await Answer.to(server.url, stream_path("abc"), "OPTIONS", headers) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {name.lower() for name in asked.split(", ")} <= set(allowed)
        assert int(answer.headers["access-control-max-age"]) >= 86400


async def test_other_methods_are_405_in_json() -> None:
    async with running(settings_for()) as server:
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
            async with await Answer.to(server.url, stream_path("abc"), method, body=b"x") as answer:
                assert answer.status == 405
                assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
                assert await answer.json() == {"detail": f"Method {method} not allowed"}


async def test_unknown_path_is_404_in_json() -> None:
    async with running(settings_for()) as server, await Answer.to(server.url, "/sse/environments/abc") as answer:
        assert answer.status == 404
        assert "detail" in await answer.json()


async def test_stream_is_never_compressed_whatever_the_client_accepts() -> None:
    async with (
        running(settings_for()) as server,
        await Answer.to(server.url, stream_path("abc"), headers={"Accept-Encoding": "gzip, br"}) as stream,
    ):
        assert not {"content-encoding", "vary", "set-cookie", "server"} & set(stream.headers)
        assert stream.headers["transfer-encoding"] == "chunked"
        assert await stream.chunk() == b"retry: 2000\n\n"


async def test_client_that_leaves_is_forgotten_at_once() -> None:
    async with running(settings_for()) as server:
        stream = await open_stream(server.url, "unknown")
        await until(lambda: server.parts.hub.open == 1, "the stream's opening")
        await stream.close()
        await until(lambda: server.parts.hub.open == 0, "the stream's leaving", 10)  # a heartbeat is fifteen
        assert server.parts.hub.count("unknown") == 0
        assert not server.parts.hub._channels
        assert not any(server.parts.wheel._ticks.values())


async def test_changes_within_min_interval_become_one_event_with_the_newest() -> None:
    async with running(settings_for(min_interval=0.3)) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        began = time.monotonic()
        for later in range(51):
            server.parts.hub.dispatch("abc", VERSION + later)
        assert await stream.version() == VERSION, "the first goes out at once: later it would be a newer one"
        assert await stream.version() == VERSION + 50
        assert time.monotonic() - began > 0.28


async def stop_reading(server: Running, stream: Answer) -> tuple[DescriptorStream, int]:
    """Make the client read no more, and fill every buffer on the way to it; return its stream and the changes."""
    await until(lambda: not server.server.server_state.connections, "the hand-off")
    [served] = server.parts.hub._channels["abc"].streams
    assert isinstance(served, DescriptorStream)
    stream.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's transports have it
    changes = 0
    full_for = 0
    while full_for < 10:  # the kernel may take more for a moment
        changes += 1
        server.parts.hub.dispatch("abc", VERSION + changes)
        full = served._paused_since > 0
        await asyncio.sleep(0.01 if full else 0)
        full_for = full_for + 1 if full else 0
    return served, changes


async def test_client_that_does_not_read_costs_one_frame_and_then_gets_the_newest() -> None:
    async with running(settings_for()) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        served, changes = await stop_reading(server, stream)
        before = server.parts.metrics.conflated._value.get()
        for later in range(changes + 1, changes + 10_000):
            server.parts.hub.dispatch("abc", VERSION + later)
            if later % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: served._version == VERSION + changes + 9_999, "the last offer")
        assert len(served._rest) < 200, "the rest of one frame"
        assert server.parts.metrics.conflated._value.get() > before
        stream.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        seen = await stream.until(VERSION + changes + 9_999)
        assert seen == sorted(seen)
        assert len(seen) <= changes + 1


async def test_client_that_still_does_not_read_after_the_end_of_its_stream_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream_server.stream.STUCK", 0.3)
    async with running(settings_for(lifetime=3)) as server, await open_stream(server.url) as stream:
        await stream.chunk()
        await stop_reading(server, stream)
        await until(lambda: server.parts.hub.open == 0, "the cut")
        assert server.parts.metrics.streams_ended.labels("stuck")._value.get() == 1
        stream.writer.transport.resume_reading()  # type: ignore[attr-defined] # as above
        with pytest.raises(CutError):
            await stream.rest()


async def test_stream_that_ends_early_behind_an_edge_is_cut_and_otherwise_ends_cleanly() -> None:
    async with running(settings_for(edge=True)) as server:
        stream = await open_stream(server.url)
        await stream.chunk()
    with pytest.raises(CutError):
        await stream.rest()
    await stream.close()
    async with running(settings_for(edge=False)) as server:
        stream = await open_stream(server.url)
        await stream.chunk()
        server.parts.hub.dispatch("abc", now())
    assert len(await stream.rest()) <= 1
    await stream.close()


async def test_hundreds_of_streams_all_get_the_newest() -> None:
    async with running(settings_for()) as server:
        streams = await asyncio.gather(*(open_stream(server.url) for _ in range(400)))
        server.parts.hub.dispatch("abc", VERSION)
        await asyncio.gather(*(stream.until(VERSION) for stream in streams))
        await asyncio.gather(*(stream.close() for stream in streams))


async def test_malformed_request_is_a_400_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with running(settings_for()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b"GARBAGE\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()
        await writer.wait_closed()
    assert not [record for record in caplog.records if record.exc_info]
