"""Whatever a client sends: one stream at the origin, nothing of it in what the origin sees, nothing of ours shown."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.edge.clients.recording import Answer, RecordingOrigin, Seen, ask
from tests.edge.varnish import Varnish

pytestmark = pytest.mark.asyncio

SENT = {
    "Cookie": "session=1",
    "Authorization": "Token secret",
    "Origin": "https://app.example",
    "Referer": "https://app.example/page",
    "User-Agent": "Mozilla/5.0",
    "Range": "bytes=0-10",
    "If-None-Match": '"x"',
    "If-Modified-Since": "Sat, 21 Nov 2026 00:00:00 GMT",
    "Last-Event-ID": "17",
    "Cache-Control": "no-cache, no-store",
    "Pragma": "no-cache",
    "Accept-Encoding": "gzip, br",
    "Accept": "text/event-stream",
    "Accept-Language": "de",
    "X-Forwarded-For": "10.1.2.3",
    "X-Environment-Key": "another",
    "X-Fs-Kind": "pass",
    "X-Fs-Older-Than": "100000",
    "X-Fs-Version": "5",
    "X-Fs-Methods": "DELETE",
    "X-Fs-Keep-Unversioned": "1",
    "X-Fs-Draining": "1",
    "Surrogate-Key": "stream-0000000000000000",
    "Surrogate-Capability": "edge=1",
    "Host": "other.example",
    "TE": "trailers",
    "Forwarded": "for=10.1.2.3",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Mode": "cors",
    "Fastly-FF": "forged",
    "Fastly-Debug": "1",
}
PATHS = [
    "/sse/environments/KEY/stream",
    "/sse/environments/KEY/stream/",
    "//sse/environments/KEY/stream",
    "/sse/KEY/stream",
    "//sse/KEY/stream/",
    "/sse/environments/KEY/stream?lastEventId=17",
    "/sse/environments/KEY/stream?_=1700000000&x=/y/stream",
    "/sse/KEY/stream/?" + "x" * 4000,
]
OURS = {"surrogate-key", "surrogate-control", "via", "x-varnish", "server", "set-cookie", "vary", "etag"}
HARMLESS = {"upgrade-insecure-requests", "sec-fetch-mode", "surrogate-capability", "fastly-ff", "fastly-debug"}
"""What VCL would have to name to drop, and no stream server reads."""

FROM_THE_EDGE = {"host", "x-varnish", "via", "accept-encoding"}


@asynccontextmanager
async def edge_before(origin: RecordingOrigin, folder: Path) -> AsyncIterator[Varnish]:
    edge = Varnish(folder, origins=[f"127.0.0.1:{origin.port}"])
    await asyncio.to_thread(edge.start)
    try:
        yield edge
    finally:
        await asyncio.to_thread(edge.stop)


def get(path: str, names: tuple[str, ...] = (), method: str = "GET") -> bytes:
    host = "" if "Host" in names else "Host: edge\r\n"
    lines = "".join(f"{name}: {SENT[name]}\r\n" for name in names)
    return f"{method} {path.replace('KEY', 'abc')} HTTP/1.1\r\n{host}{lines}\r\n".encode()


def internal(headers: dict[str, str]) -> set[str]:
    return {name for name in headers if name in OURS or name.startswith("x-fs-")}


async def test_every_combination_of_headers_and_spellings_is_one_stream_at_the_origin(tmp_path: Path) -> None:
    origin = RecordingOrigin()
    requests = [
        get("/sse/environments/KEY/stream"),
        *(get("/sse/environments/KEY/stream", pair) for pair in itertools.combinations(SENT, 2)),
        *(get(path, tuple(SENT)) for path in PATHS),
        *(get(path, ()) for path in PATHS),
        get("/sse/environments/KEY/stream", ("Host",)).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ]
    async with origin.running(), edge_before(origin, tmp_path) as edge:
        answers: list[Answer] = []
        try:
            answers += await asyncio.gather(*(ask(edge.port, each) for each in requests))
            assert {each.status for each in answers} == {200}
            assert not set().union(*(internal(each.headers) for each in answers))
            for each in answers:
                assert each.headers["cache-control"] == "no-store, no-transform"
                assert each.headers["x-stream-lifetime"] == "30"
                assert each.headers["access-control-allow-origin"] == "*"
                assert "content-encoding" not in each.headers
            assert len(origin.requests) == 1, [seen.url for seen in origin.requests]
            [seen] = origin.requests
            assert (seen.method, seen.url) == ("GET", "/sse/environments/abc/stream")
            assert seen.headers["host"] == "flagstream"
            foreign = {name for name, value in seen.headers.items() if name not in FROM_THE_EDGE}
            assert not foreign, seen.headers

            # Whoever comes late learns from Age what is left of the announced lifetime.
            await asyncio.sleep(1.2)
            late = await ask(edge.port, get("/sse/environments/KEY/stream"))
            answers.append(late)
            assert 1 <= int(late.headers["age"]) <= 10
            assert late.headers["x-stream-lifetime"] == "30"
            expecting = await ask(edge.port, get("/sse/environments/KEY/stream")[:-2] + b"Expect: 100-continue\r\n\r\n")
            answers.append(expecting)
            assert expecting.status in {100, 200}
            assert len(origin.requests) == 1
        finally:
            for each in answers:
                each.close()


async def test_headers_first_seen_do_not_stay_on_the_stream_that_others_join(tmp_path: Path) -> None:
    """Each header is the first client's, of a key of its own: what opens the stream tells the origin nothing."""
    origin = RecordingOrigin()
    async with origin.running(), edge_before(origin, tmp_path) as edge:
        for number, name in enumerate(SENT):
            path = f"/sse/environments/first-{number}/stream"
            (await ask(edge.port, get(path, (name,)))).close()
            seen = origin.requests[-1]
            assert seen.url == path
            assert not seen.headers.keys() - FROM_THE_EDGE - HARMLESS, (name, seen.headers)
            assert seen.headers["host"] == "flagstream"
            assert "accept-encoding" not in seen.headers


REACHES = True
DOCUMENT = "GET, HEAD, OPTIONS"
TABLE = [
    # method, path, status, Allow, whether the origin sees it
    ("GET", "/sse/environments/k1/stream", 200, None, REACHES),
    ("HEAD", "/sse/environments/k2/stream", 200, None, False),
    ("POST", "/sse/environments/k3/stream", 405, DOCUMENT, False),
    ("PUT", "/sse/environments/k3/stream", 405, DOCUMENT, False),
    ("DELETE", "/sse/environments/k3/stream", 405, DOCUMENT, False),
    ("PATCH", "/sse/environments/k3/stream", 405, DOCUMENT, False),
    ("OPTIONS", "/sse/environments/k3/stream", 204, None, False),
    ("POST", "/sse/environments/k3/queue-change", 404, None, False),
    ("GET", "/sse/environments/k3/queue-change", 404, None, False),
    ("POST", "//sse/environments/k3/queue-change/", 404, None, False),
    ("GET", "/sse/health", 404, None, False),
    ("GET", "/metrics", 404, None, False),
    ("GET", "/", 404, None, False),
    ("GET", "/health", 200, None, False),
    ("GET", "/health/readiness", 200, None, False),
    ("GET", "/livez", 404, None, False),
    ("GET", "/api/projects", 404, None, False),
    ("PATCH", "/api/environments/k3/features/f", 404, None, False),
    ("GET", "/api/streams?environment=k3", 404, None, False),
    ("GET", "/api/v1/flags/", 200, None, REACHES),
    ("HEAD", "/api/v1/flags", 200, None, REACHES),
    ("POST", "/api/v1/flags/", 405, DOCUMENT, False),
    ("OPTIONS", "/api/v1/flags/", 204, None, False),
    ("GET", "/api/v1/environment-document/", 200, None, REACHES),
    ("DELETE", "/api/v1/environment-document/", 405, DOCUMENT, False),
    ("GET", "/api/v1/identities/?identifier=a", 200, None, REACHES),
    ("POST", "/api/v1/identities/", 200, None, REACHES),
    ("DELETE", "/api/v1/identities/", 405, "GET, HEAD, POST, OPTIONS", False),
    ("POST", "/api/v1/analytics/flags/", 200, None, REACHES),
    ("GET", "/api/v1/analytics/flags/", 405, "POST, OPTIONS", False),
    ("POST", "/ofrep/v1/evaluate/flags", 200, None, REACHES),
    ("POST", "/ofrep/v1/evaluate/flags/banner", 200, None, REACHES),
    ("GET", "/ofrep/v1/evaluate/flags", 405, "POST, OPTIONS", False),
    ("POST", "/ofrep/v1/evaluate/flags/a/b", 404, None, False),
    ("GET", "/api/v1/organisations/", 404, None, False),
    ("GET", "/api/v1/../../metrics", 404, None, False),
    ("GET", "/api/v1/flags/../../projects", 404, None, False),
    ("GET", "/api/v1/flags/%2e%2e/projects", 404, None, False),
    ("TRACE", "/api/v1/flags/", 405, DOCUMENT, False),
    ("CONNECT", "/api/v1/flags/", 405, DOCUMENT, False),
    ("BREW", "/api/v1/flags/", 405, DOCUMENT, False),
]


async def test_the_refused_never_reach_the_origin(tmp_path: Path) -> None:
    origin = RecordingOrigin()
    async with origin.running(), edge_before(origin, tmp_path) as edge:
        for method, path, status, allow, reaches in TABLE:
            before = len(origin.requests)
            body = '{"identifier": "a"}' if method in {"POST", "PUT", "PATCH"} else ""
            length = f"Content-Length: {len(body)}"
            request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Environment-Key: k\r\n{length}\r\n\r\n{body}"
            answer = await ask(edge.port, request.encode())
            answer.close()
            assert answer.status == status, (method, path, answer)
            assert answer.headers.get("allow") == allow, (method, path)
            assert bool(len(origin.requests) - before) is reaches, (method, path)
            assert answer.headers["access-control-allow-origin"] == "*", (method, path)
            assert not internal(answer.headers), (method, path)
            if status in {404, 405}:
                assert json.loads(answer.body)["detail"], (method, path)
            if status == 204:
                assert "Flagsmith-SDK-User-Agent" in answer.headers["access-control-allow-headers"]
                assert int(answer.headers["access-control-max-age"]) == 86400
            if reaches and method == "POST":
                assert origin.requests[-1].body == body.encode(), (method, path)


WRONG: list[bytes] = [
    b"GET http://evil.example/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://evil.example//sse/environments/abc/queue-change HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sse/environments/a%2fb/stream HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sse/environments/../../metrics/stream HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sse/environments/..%2f..%2fmetrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/flags/;/../../metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/flags%2f..%2f..%2fmetrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics#/api/v1/flags/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics?/api/v1/flags/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sse/abc/stream?" + b"q" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sse/abc/stream HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
    b"GET /sse/abc/stream HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /sse/abc/stream HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /sse/abc/stream HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET\t/metrics HTTP/1.1\r\n\r\n",
    b"\r\n\r\n\r\nGET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    b"POST /api/v1/identities/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nbad\r\n\r\n",
    (
        b"POST /api/v1/identities/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    (
        b"POST /api/v1/identities/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n"
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
    (
        b"POST /api/v1/analytics/flags/ HTTP/1.1\r\nHost: x\r\nContent-Length: 35\r\n\r\n"
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n\r\n"
    ),
    b"POST /api/v1/flags/ HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /sse/abc/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/flags/ HTTP/1.1\r\nHost: x\r\nContent-Length: 33\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PURGE / HTTP/1.1\r\nHost: x\r\nSurrogate-Key: .*\r\n\r\n",
    b"PURGE / HTTP/1.1\r\nHost: x\r\nSurrogate-Key: stream-0 || obj.status != 0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
ALLOWED = ("/sse/environments/", "/api/v1/flags/", "/api/v1/identities/", "/api/v1/analytics/flags/")


def is_in_place(seen: Seen) -> bool:
    path = seen.url.partition("?")[0]
    return seen.method in {"GET", "POST"} and path.startswith(ALLOWED) and ".." not in path and "%" not in path


async def test_malformed_requests_reach_no_wrong_path_and_disturb_nobody(tmp_path: Path) -> None:
    origin = RecordingOrigin()
    async with origin.running(), edge_before(origin, tmp_path) as edge:
        bystander = await ask(edge.port, get("/sse/environments/bystander/stream"))
        assert bystander.status == 200
        for wrong in WRONG:
            try:
                answer = await ask(edge.port, wrong, seconds=3)
            except TimeoutError:
                continue  # the edge waits for the rest of it
            assert answer.status in {0, 200, 400, 404, 405, 408, 413, 501, 503, 505}, (wrong[:80], answer.status)
            assert not internal(answer.headers), wrong[:80]
            answer.close()
        assert all(is_in_place(seen) for seen in origin.requests), [
            (seen.method, seen.url[:80]) for seen in origin.requests if not is_in_place(seen)
        ]
        assert not bystander.reader.at_eof()
        # The shared stream and a document are as they were.
        for path in ("/sse/environments/bystander/stream", "/api/v1/flags/"):
            after = await ask(edge.port, get(path))
            assert after.status == 200
            after.close()
        assert sum(1 for seen in origin.requests if "bystander" in seen.url) == 1
        assert edge.counter("MAIN.backend_fail") == 0
        bystander.close()
