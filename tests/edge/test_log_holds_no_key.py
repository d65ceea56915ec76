"""Whatever is asked of an edge, well formed or not, Varnish's log never holds an environment's key."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from publisher.messages import surrogate_key
from tests.edge.clients.recording import RecordingOrigin, ask
from tests.edge.varnish import Varnish

pytestmark = pytest.mark.asyncio

CLIENT_KEY = "kEyOfAcLiEnT0123456789"
SERVER_KEY = "ser.kEyOfAsErVeR0123456789"
SECRETS = (CLIENT_KEY, SERVER_KEY.removeprefix("ser."))
PATHS = [
    "/sse/environments/KEY/stream",
    "/sse/environments/KEY/stream/?lastEventId=KEY",
    "//sse/KEY/stream",
    "/sse/environments/KEY.KEY/stream",
    "/sse/environments/KEY/queue-change",
    "/KEY",
    "/health?KEY",
    "/api/v1/flags/?v=5",
    "/api/v1/flags/",
    "/api/v1/flags/?feature=KEY",
    "/api/v1/environment-document/?v=5&_=KEY",
    "/api/v1/identities/?identifier=KEY",
    "/ofrep/v1/evaluate/flags/KEY",
]
HEADERS = ["X-Environment-Key", "Authorization", "Cookie", "Referer", "X-Other", "Surrogate-Key", "If-None-Match"]
# A key in the place of the method would be logged: whoever sends that means it, and the method is worth a column.
MALFORMED = [
    "GET /sse/environments/KEY/stream\r\n\r\n",
    "GET/sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET  /sse/environments/KEY/stream  HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /sse/environments/KEY/stream KEY HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /api/v1/flags/?v=5 HTTP/1.1\r\nHost: x\r\nX-Environment-Key KEY\r\n\r\n",
    "GET /api/v1/flags/?v=5 HTTP/1.1\r\nHost: x\r\nX-Environment-Key : KEY\r\n\r\n",
    "GET /api/v1/flags/?v=5 HTTP/1.1\r\nHost: x\r\nX-Environment-Key: KEY\x01KEY\r\n\r\n",
    "GET /api/v1/flags/?v=5 HTTP/1.1\r\nHost: x\r\nHost: KEY\r\nX-Environment-Key: KEY\r\nCookie: KEY\r\n\r\n",
    "GET /api/v1/flags/ HTTP/1.1\r\nHost: KEY.example\r\n KEY: folded\r\n\r\n",
    "GET http://KEY.example/sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /sse/environments/KEY/stream?" + "KEY" * 5000 + " HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /sse/KEY/stream HTTP/1.1\r\nHost: x\r\nX-Environment-Key: " + "KEY" * 1000 + "\r\n\r\n",
    "GET /sse/KEY/stream HTTP/1.1\r\nHost: x\r\n" + "X-Environment-Key: KEY\r\n" * 200 + "\r\n",
    "POST /api/v1/identities/ HTTP/1.1\r\nX-Environment-Key: KEY\r\nTransfer-Encoding: chunked\r\n\r\nKEY\r\n",
    "POST /api/v1/identities/ HTTP/1.1\r\nHost: x\r\nX-Environment-Key: KEY\r\nContent-Length: KEY\r\n\r\n",
    "GET /sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\nExpect: KEY\r\n\r\n",
    "GET /sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: KEY\r\n\r\n",
    "PURGE /sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\nSurrogate-Key: KEY\r\n\r\n",
    f"PURGE / HTTP/1.1\r\nHost: x\r\nSurrogate-Key: {surrogate_key('stream', CLIENT_KEY)}\r\n\r\n",
    "PROPFIND /sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /sse/environments/KEY/stream HTTP/KEY\r\nHost: x\r\n\r\n",
]


def requests(key: str) -> list[bytes]:
    formed = [
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Environment-Key: KEY\r\nContent-Length: 0\r\n\r\n"
        for path in PATHS
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE")
    ]
    named = [f"GET /sse/environments/KEY/stream HTTP/1.1\r\nHost: x\r\n{name}: KEY\r\n\r\n" for name in HEADERS]
    passed = [f"GET /api/v1/identities/?identifier=a HTTP/1.1\r\nHost: x\r\n{name}: KEY\r\n\r\n" for name in HEADERS]
    return [each.replace("KEY", key).encode() for each in (*formed, *named, *passed, *MALFORMED)]


async def drive(edge: Varnish) -> None:
    """Send all of it with both keys."""

    async def send(request: bytes) -> None:
        with suppress(TimeoutError):  # what the edge waits for the rest of
            (await ask(edge.port, request, seconds=1.5)).close()

    await asyncio.gather(*(send(request) for key in (CLIENT_KEY, SERVER_KEY) for request in requests(key)))


def access_log(edge: Varnish) -> str:
    formats = ("%r", "%h %U %q %m %s %{X-Environment-Key}i %{Surrogate-Key}i %{Host}i", "%{VSL:VCL_Log}x")
    done = [
        subprocess.run(
            ["varnishncsa", "-d", "-n", edge.name, *sides, "-F", each], check=True, capture_output=True, timeout=30
        ).stdout
        for each in formats
        for sides in (["-c"], ["-b"], ["-c", "-E"])
    ]
    return b"".join(done).decode(errors="replace")


async def logs_of(edge: Varnish, origin: RecordingOrigin) -> tuple[str, str]:
    """Drive the edge with an origin that answers and with none; return its logs, with what varnishd says."""
    try:
        async with origin.running():
            await asyncio.to_thread(edge.start)
            await drive(edge)
            assert any(CLIENT_KEY in seen.url for seen in origin.requests)
            assert any(SERVER_KEY in seen.headers.get("x-environment-key", "") for seen in origin.requests)
        await drive(edge)
        raw, access = await asyncio.gather(asyncio.to_thread(edge.log), asyncio.to_thread(access_log, edge))
    finally:
        await asyncio.to_thread(edge.stop)
    assert "Begin" in raw
    assert access.count("\n") > len(requests(CLIENT_KEY))
    return raw + edge.process.output(), access


async def origin_and_edge(folder: Path, *arguments: str) -> tuple[RecordingOrigin, Varnish]:
    origin = RecordingOrigin()
    async with origin.running():
        pass  # for its port
    return origin, Varnish(folder, origins=[f"127.0.0.1:{origin.port}"], arguments=arguments)


def lines_with_keys(log: str) -> list[str]:
    return [line[:160] for line in log.splitlines() if any(secret in line for secret in SECRETS)]


async def test_no_log_holds_a_key(tmp_path: Path) -> None:
    origin, edge = await origin_and_edge(tmp_path)
    raw, access = await logs_of(edge, origin)
    assert not lines_with_keys(raw)
    assert not lines_with_keys(access)
    # What an operator counts by is there all the same.
    assert "environment:stream-0123456789abcdef" in raw


async def test_without_the_mask_both_logs_would_hold_keys(tmp_path: Path) -> None:
    """The proof that the test above looks where keys would be."""
    origin, edge = await origin_and_edge(tmp_path, "-p", "vsl_mask=default")
    raw, access = await logs_of(edge, origin)
    tags = {line.split()[1] for line in lines_with_keys(raw)}
    assert {"ReqURL", "ReqHeader", "BereqURL", "BereqHeader"} <= tags, tags
    assert lines_with_keys(access)
