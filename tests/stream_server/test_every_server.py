"""What a stream is to a client, whatever ASGI server runs the application."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from publisher.messages import version_of
from tests.stream_server.connections import connected
from tests.stream_server.raw import NUMBER, Answer, CutError, settings_for, stream_path, until
from tests.stream_server.variants import VARIANTS, Answer2, Place, Variant

pytestmark = pytest.mark.asyncio

EVENT = (Path(__file__).parents[1] / "golden/stream_event.sse").read_bytes()
VERSION = 1735229888760123
PING = b": ping\n\n"
RETRY = b"retry: 2000\n\n"


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.name)
def variant(request: pytest.FixtureRequest) -> Variant:
    chosen: Variant = request.param
    return chosen


async def opened(variant: Variant, place: Place, key: str = "abc", method: str = "GET") -> Answer | Answer2:
    return await variant.ask(place.url, stream_path(key), method)


def versions(data: bytes) -> list[int]:
    return [version_of(float(number)) for number in NUMBER.findall(data)]


async def read_until(stream: Answer | Answer2, version: int) -> list[int]:
    """Read events up to `version` and return the versions of all."""
    seen: list[int] = []
    while version not in seen:
        chunk = await stream.chunk()
        assert chunk is not None, "the stream ended"
        seen += versions(chunk)
    return seen


async def test_the_newest_version_comes_at_once_under_the_headers_of_a_stream(variant: Variant) -> None:
    async with variant.serve(settings_for(lifetime=30, join_window=20)) as place:
        place.parts.hub.dispatch("abc", VERSION)
        async with await opened(variant, place) as stream:
            opening = await stream.chunk()
            assert opening is not None
            assert versions(opening) == [VERSION]
            assert opening.endswith(RETRY)
            assert stream.status == 200
            expected = {
                "content-type": "text/event-stream",
                "cache-control": "public, max-age=0, s-maxage=20",
                "surrogate-control": "max-age=20",
                "x-stream-lifetime": "30",
                "access-control-allow-origin": "*",
            }
            assert expected.items() <= stream.headers.items()
            assert not {"content-encoding", "content-length", "vary", "set-cookie"} & set(stream.headers)
            if isinstance(stream, Answer):
                assert stream.headers["transfer-encoding"] == "chunked"


async def test_a_change_is_one_write_and_only_newer_ones_of_this_environment_are_sent(variant: Variant) -> None:
    async with variant.serve(settings_for()) as place, await opened(variant, place) as stream:
        assert await stream.chunk() == RETRY
        for key, later in (("other", 5), ("abc", 0), ("abc", -1), ("abc", 0), ("other", 7), ("abc", 1)):
            place.parts.hub.dispatch(key, VERSION + later)
            await asyncio.sleep(0.01)
        assert await stream.chunk() == EVENT
        assert await read_until(stream, VERSION + 1) == [VERSION + 1]


async def test_changes_within_min_interval_become_one_event_with_the_newest(variant: Variant) -> None:
    async with variant.serve(settings_for(min_interval=0.2)) as place, await opened(variant, place) as stream:
        await stream.chunk()
        for later in range(51):
            place.parts.hub.dispatch("abc", VERSION + later)
        assert await read_until(stream, VERSION + 50) == [VERSION, VERSION + 50]


async def test_heartbeats_come_the_end_is_clean_and_the_connection_serves_the_next_request(variant: Variant) -> None:
    async with variant.serve(settings_for(lifetime=3, heartbeat=0.5)) as place:
        both = [stream_to_its_end(variant, place)]
        if variant.http_1:
            both.append(request_behind_a_stream(place))
        await asyncio.gather(*both)
        await until(lambda: place.parts.hub.open == 0, "the stream's leaving")


async def stream_to_its_end(variant: Variant, place: Place) -> None:
    began = time.monotonic()
    async with await opened(variant, place) as stream:
        assert await stream.chunk() == RETRY
        chunks = []
        while (chunk := await stream.chunk()) is not None:
            chunks.append(chunk)
        assert set(chunks) == {PING}
        assert len(chunks) >= 2
        assert time.monotonic() - began >= 3
        if isinstance(stream, Answer):
            await stream.ask(stream_path("abc"), "OPTIONS")
            assert stream.status == 200


async def request_behind_a_stream(place: Place) -> None:
    async with connected(place.url) as client:
        for path in (stream_path("abc"), "/nothing"):
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stream = await client.until(b"\r\n0\r\n\r\n")
        assert stream.count(b"HTTP/1.1") == 1
        assert (await client.head()).startswith(b"HTTP/1.1 404 ")


async def test_a_stream_that_ends_too_early_is_cut(variant: Variant, caplog: pytest.LogCaptureFixture) -> None:
    async with variant.serve(settings_for()) as place, await opened(variant, place) as stream:
        assert await stream.chunk() == RETRY
        await place.parts.hub.end_all(clean=False)
        with pytest.raises(CutError):
            await stream.chunk()
        await until(lambda: place.parts.hub.open == 0, "the stream's leaving")
    assert variant.quiet == (not [record for record in caplog.records if record.exc_info])


async def test_a_client_that_leaves_is_forgotten(variant: Variant) -> None:
    async with variant.serve(settings_for(heartbeat=0.2)) as place:
        stream = await opened(variant, place)
        assert await stream.chunk() == RETRY
        assert place.parts.hub.open == 1
        await stream.close()
        await until(lambda: place.parts.hub.open == 0, "the stream's leaving")
        assert not any(place.parts.wheel._ticks.values())


async def test_many_clients_all_get_the_newest(variant: Variant) -> None:
    async with variant.serve(settings_for(heartbeat=0.5)) as place:
        streams = await asyncio.gather(*(opened(variant, place) for _ in range(50)))
        await asyncio.gather(*(stream.chunk() for stream in streams))
        place.parts.hub.dispatch("abc", VERSION)
        assert await asyncio.gather(*(read_until(stream, VERSION) for stream in streams)) == [[VERSION]] * 50
        await asyncio.gather(*(stream.close() for stream in streams))
        await until(lambda: place.parts.hub.open == 0, "everybody's leaving")


async def test_unknown_keys_idle_unless_they_are_to_be_refused(variant: Variant) -> None:
    async with variant.serve(settings_for(heartbeat=0.1, unknown_keys="reject")) as place:
        for key in ("never-heard-of", "with.dot", "%20"):
            async with await opened(variant, place, key) as stream:
                assert [await stream.chunk(), await stream.chunk()] == [RETRY, PING]
        place.parts.feed.ready = True
        async with await opened(variant, place) as refused:
            assert refused.status == 404
            assert json.loads(await refused.content()) == {"detail": "Unknown environment key"}


async def test_other_methods_are_answered_as_the_wire_says(variant: Variant) -> None:
    async with variant.serve(settings_for(join_window=20)) as place:
        async with await opened(variant, place, method="HEAD") as head:
            assert (head.status, head.headers["surrogate-control"]) == (200, "max-age=20")
        async with await opened(variant, place, method="OPTIONS") as preflight:
            assert preflight.status == 200
            assert preflight.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
            assert "x-environment-key" in preflight.headers["access-control-allow-headers"].lower()
        for method in ("POST", "DELETE"):
            async with await variant.ask(place.url, stream_path("abc"), method, body=b"x") as answer:
                assert answer.status == 405
                assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
                assert json.loads(await answer.content()) == {"detail": f"Method {method} not allowed"}
        assert place.parts.hub.open == 0


@pytest.mark.parametrize("variant", [each for each in VARIANTS if each.http_1], ids=lambda variant: variant.name)
async def test_http_1_0_gets_its_stream_without_chunks(variant: Variant) -> None:
    async with variant.serve(settings_for()) as place, connected(place.url) as client:
        client.send(f"GET {stream_path('abc')} HTTP/1.0\r\n\r\n".encode())
        head = await client.head()
        assert (b"chunked" not in head.lower()) == variant.old
        data = await client.until(RETRY)
        assert (data == RETRY) == variant.old
