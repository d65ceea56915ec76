"""nginx with nchan, told by the feeder: what clients see of it, byte for byte where that matters."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest

from publisher.messages import wire_number
from tests.edge.nchan_servers import NUMBERS, Nginx, site
from tests.servers import NatsServer
from tests.stream_server.raw import Answer, open_stream, stream_path, until

pytestmark = pytest.mark.asyncio

OPENING = rb'event: environment_updated\ndata: \{"updated_at": [0-9.]+\}\nretry: ([0-9]+)\n\n'


async def test_who_connects_is_told_the_newest_version_at_once_in_our_own_bytes(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with site(tmp_path, nats_server) as running:
        version = await running.announce()
        await running.told(version)
        async with await open_stream(running.nginx.url) as stream:
            block = await stream.chunk()
            assert block is not None
            found = re.fullmatch(OPENING, block)
            assert found
            assert f'data: {{"updated_at": {wire_number(version)}}}\n'.encode() in block
            assert 1000 <= int(found[1]) <= 3000
            assert stream.headers["content-type"] == "text/event-stream"
            assert stream.headers["transfer-encoding"] == "chunked"
            assert stream.headers["cache-control"] == "no-store, no-transform"
            assert stream.headers["access-control-allow-origin"] == "*"
            assert "X-Stream-Lifetime" in stream.headers["access-control-expose-headers"]
            assert 26 <= int(stream.headers["x-stream-lifetime"]) <= 33
            for name in (b"Access-Control-Allow-Origin:", b"Content-Type:", b"Transfer-Encoding:"):
                assert stream.head.count(name) == 1


async def test_an_update_reaches_everybody_and_no_connection_sees_an_older_version(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with site(tmp_path, nats_server, min_interval=0) as running:
        first = await running.announce()
        await running.told(first)
        streams = [await open_stream(running.nginx.url) for _ in range(100)]
        try:
            for _ in range(30):
                last = await running.announce()
            for seen in await asyncio.gather(*(stream.until(last) for stream in streams)):
                assert seen == sorted(seen)
        finally:
            for stream in streams:
                await stream.close()


async def test_a_burst_is_told_as_few_versions_the_newest_last(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server, min_interval=1) as running:
        await running.told(await running.announce())
        async with await open_stream(running.nginx.url) as stream:
            for _ in range(40):
                last = await running.announce()
            assert len(await stream.until(last)) < 20


async def test_a_stream_has_heartbeats_and_ends_cleanly_no_earlier_than_it_says(
    tmp_path: Path, nats_server: NatsServer
) -> None:
    async with site(tmp_path, nats_server, short=True) as running:

        async def live() -> tuple[int, float, list[bytes]]:
            began = time.monotonic()
            async with await open_stream(running.nginx.url, "nobody") as stream:
                chunks = await stream.rest()
                lifetime = int(stream.headers["x-stream-lifetime"])
                age = time.monotonic() - began
                assert stream.headers["connection"] == "close"
                assert await stream.reader.read() == b"", "as it said"
                return lifetime, age, chunks

        lived = await asyncio.gather(*(live() for _ in range(40)))
        assert {lifetime for lifetime, _, _ in lived} == {5, 6}, "lifetimes are spread"
        for lifetime, age, chunks in lived:
            assert age > lifetime - 0.05
            assert chunks == [b": ping\n\n"], "a key that nobody has announced gets an idle stream with a heartbeat"


async def test_paths_fold_and_other_characters_are_an_idle_stream(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running:
        version = await running.announce()
        await running.told(version)
        for path in (
            "/sse/environments/abc/stream/",
            "//sse/environments/abc/stream",
            "/sse/abc/stream",
            "//sse/abc/stream/",
            "/sse/environments/abc/stream?lastEventId=1:0",
        ):
            async with await Answer.to(running.nginx.url, path, headers={"Last-Event-ID": "9999999999:0"}) as stream:
                assert await stream.version() == version, path
        for path in ("/sse/environments/a.b/stream", f"/sse/environments/{'a' * 129}/stream", "/sse/a%20b/stream"):
            async with await Answer.to(running.nginx.url, path) as stream:
                assert stream.status == 200, path
                assert stream.headers["content-type"] == "text/event-stream"


async def test_methods_and_unknown_paths(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running, httpx.AsyncClient(base_url=running.nginx.url) as client:
        stream = stream_path("abc")
        head = await client.head(stream)
        assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            refused = await client.request(method, stream)
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
            assert refused.json()["detail"]
        for path in (stream, "/api/v1/flags/"):
            preflight = await client.options(path, headers={"Origin": "https://example.org"})
            assert preflight.status_code == 204
            assert preflight.headers.get_list("access-control-allow-origin") == ["*"]
            assert "Flagsmith-SDK-User-Agent" in preflight.headers["access-control-allow-headers"]
            assert preflight.headers["access-control-max-age"] == "86400"
        for path in ("/", "/sse/environments/abc/queue-change", "/metrics", "/api/v1/other/", "/env/abc", "/beat/01-2"):
            missed = await client.get(path)
            assert missed.status_code == 404, path
            assert missed.json()["detail"]
            assert (await client.post(path, content=b"x")).status_code == 404
        away = await client.get("/api/v1/flags/", headers={"X-Environment-Key": "abc"})
        assert away.status_code == 502, "the origin of this site is nobody"
        assert away.json()["detail"]
        assert away.headers["access-control-allow-origin"] == "*"


async def test_no_log_holds_a_key(tmp_path: Path, nats_server: NatsServer) -> None:
    secret = "VerySecretKeyOfATest"
    async with site(tmp_path, nats_server) as running:
        await running.told(await running.announce(secret), secret)
        async with httpx.AsyncClient(base_url=running.nginx.url) as client:
            await client.get("/api/v1/flags/", headers={"X-Environment-Key": secret})
            await client.post(stream_path(secret))
            await client.get(f"/nothing/{secret}?{secret}")
        await running.feeder.process_end()
        running.nginx.kill()
        assert " 405 " in running.nginx.logs(), "the access log is written"
        assert secret not in running.nginx.logs()
        assert secret not in running.feeder.process.output()


async def test_a_feeder_refuses_what_is_not_its_own_server(tmp_path: Path, nats_server: NatsServer) -> None:
    nginx = Nginx(tmp_path / "nginx").start()
    try:
        assert NUMBERS in (nginx.folder / "nginx.conf").read_text()
        async with httpx.AsyncClient(base_url=nginx.feeder_url) as client:
            numbers = (await client.get("/feeder")).json()
            assert abs(numbers["now"] - time.time()) < 60
            assert (await client.get("/sse/environments/abc/stream")).status_code == 404
    finally:
        nginx.kill()
    assert nats_server.process.running


async def test_health_and_figures_of_a_feeder(tmp_path: Path, nats_server: NatsServer) -> None:
    async with site(tmp_path, nats_server) as running:
        await running.told(await running.announce())
        name = f'nginx="127.0.0.1:{running.nginx.feeder_port}"'
        await until(lambda: running.feeder.unsent() == 0, "nginx's answer, which clients may be quicker than")
        figures = running.feeder.figures()
        assert figures[f"flagstream_nchan_up{{{name}}}"] == 1
        assert figures[f"flagstream_nchan_posted_total{{{name}}}"] >= 2
        assert figures["flagstream_ready"] == 1
        running.nginx.kill()
        await until(lambda: running.feeder.health()[0] == 503, "the feeder's noticing")
        assert running.feeder.health()[1]["faults"] == {f"127.0.0.1:{running.nginx.feeder_port}": "does not answer"}
        assert await running.feeder.process_end() == 0, "it stops cleanly with nginx away"
