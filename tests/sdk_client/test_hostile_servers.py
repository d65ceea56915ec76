"""A client against servers that do everything wrong: few requests, one line in the log, flags kept, back by itself."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import pytest

from sdk_client import Backoff, FlagClient
from tests.sdk_client.hostile_hours import DOCUMENT_FAULTS, STREAM_FAULTS, first_hour
from tests.sdk_client.scripted import KEY, V1, V2, Peer, Script, ScriptedServer, answers, event, follow
from tests.servers import missing

LEAST = 0.005
QUICK = Backoff(base=0.005, cap=0.005, least=LEAST)
TRIES = 4
"""Failures to wait for: enough for the client to be polling, and to see whether the log repeats itself."""


def client_of(url: str, **settings: object) -> FlagClient:
    quick = {"backoff": QUICK, "random": Random(1)}
    return FlagClient(**{"environment_key": KEY, "api_url": url, **quick, **settings})  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# What a server can do to whoever asks for a stream, or for a document.


async def empty(peer: Peer) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\r\n")


async def ends_at_once(peer: Peer) -> None:
    await peer.head()
    await peer.end()


async def lines_of_another_format(peer: Peer) -> None:
    await peer.head()
    await peer.send(b'<html>\r\n{"data": 1}\n\n\n%PDF-1.4\r\rdata\x00: x\n\nevent\nid\n\n')
    await peer.end()


async def random_bytes(peer: Peer) -> None:
    await peer.head()
    await peer.send(Random(1).randbytes(5000))
    await peer.end()


async def no_http(peer: Peer) -> None:
    await peer.raw(b"220 ready when you are\r\n\r\n")
    await peer.cut()


async def wrongly_compressed(peer: Peer) -> None:
    await peer.head(Content_Encoding="gzip")
    await peer.send(b"data: a\n\n")
    await peer.end()


async def broken_chunks(peer: Peer) -> None:
    await peer.head()
    await peer.raw(b"zz\r\n")
    await peer.hold()


async def line_without_end(peer: Peer) -> None:
    await peer.head()
    while True:
        await peer.send(b"x" * 10_000)


async def event_without_end(peer: Peer) -> None:
    await peer.head()
    while True:
        await peer.send(b"data: " + b"x" * 10_000 + b"\n")


async def head_without_end(peer: Peer) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.raw(b"X-A: " + b"x" * 10_000 + b"\r\n")


async def redirects_to_itself(peer: Peer) -> None:
    await answers(302, Location=peer.server.requests[-1].path)(peer)


async def silence(peer: Peer) -> None:
    await peer.head()
    await peer.hold()


async def reset(peer: Peer) -> None:
    # Zero seconds of lingering make the close a reset.
    peer._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await peer.cut()


async def says_nothing(peer: Peer) -> None:
    await peer.hold()


async def drips(peer: Peer) -> None:
    await peer.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        await peer.raw(b" ")
        await asyncio.sleep(0.02)


async def document_without_end(peer: Peer) -> None:
    await peer.head(content_type="application/json")
    while True:
        await peer.send(b"[" * 10_000)


REDIRECTS = 6
"""Requests of one try that is redirected again and again: itself, and five more."""

STREAMS: dict[str, Script] = {
    "500": answers(500),
    "404": answers(404),
    "204": answers(204),
    "empty 200": empty,
    "instant end": ends_at_once,
    "another type": answers(200, b"data: a\n\n", Content_Type="text/html"),
    "lines of another format": lines_of_another_format,
    "random bytes": random_bytes,
    "no HTTP": no_http,
    "wrongly compressed": wrongly_compressed,
    "broken chunks": broken_chunks,
    "a line without end": line_without_end,
    "an event without end": event_without_end,
    "a head without end": head_without_end,
    "redirect loop": redirects_to_itself,
    "redirect to nowhere": answers(301, Location="gopher://127.0.0.1/"),
    "silence": silence,
    "reset": reset,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", STREAMS)
async def test_a_bad_stream_is_asked_for_seldom_told_once_and_left_when_it_is_good(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sdk_client")
    async with ScriptedServer([STREAMS[fault]]) as server:
        clock = asyncio.get_running_loop().time
        began = clock()
        heartbeat = 0.05 if fault == "silence" else 15.0
        async with client_of(server.url, heartbeat=heartbeat) as client:
            await until(lambda: client.counts.stream_errors >= TRIES)
            tries = 1 + (clock() - began) / LEAST
            assert len(server.streams) <= tries * (REDIRECTS if fault == "redirect loop" else 1)
            assert (client.value("banner"), client.version) == ("a", V1)
            assert len(warnings(caplog)) == 1, warnings(caplog)
            assert "the flag stream is down (" in warnings(caplog)[0]

            server.scripts[:] = [follow]
            server.announce(V2, banner="b")
            await until(lambda: client.version == V2 and client.connected)
            assert client.value("banner") == "b"
            assert len(warnings(caplog)) == 1


TIMEOUT = 0.15
"""Seconds for documents that never come to an end: with any other, a moment's delay would be a fault of its own."""

DOCUMENTS: dict[str, Script] = {
    "500": answers(500),
    "404": answers(404),
    "204": answers(204),
    "empty 200": answers(200),
    "random bytes": answers(200, Random(1).randbytes(5000), Content_Type="application/json"),
    "another document": answers(200, b'{"detail": "not today"}'),
    "deeply nested": answers(200, b"[" * 100_000),
    "no HTTP": no_http,
    "wrongly compressed": answers(200, b"[]", Content_Encoding="gzip"),
    "without end": document_without_end,
    "a head without end": head_without_end,
    "a slow drip": drips,
    "no answer": says_nothing,
    "redirect loop": redirects_to_itself,
    "reset": reset,
}


class Repeated(list[Script]):
    """A list of scripts that is never used up."""

    def pop(self, _: object = 0) -> Script:
        return self[0]


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", DOCUMENTS)
async def test_a_bad_document_is_asked_for_seldom_told_once_and_never_takes_flags_away(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sdk_client")
    settings = {"request_timeout": TIMEOUT} if fault in ("a slow drip", "no answer") else {}
    async with ScriptedServer() as server, client_of(server.url, **settings) as client:
        await until(lambda: client.is_current)
        caplog.clear()
        server.document_scripts = Repeated([DOCUMENTS[fault]])
        clock = asyncio.get_running_loop().time
        before, began = len(server.documents), clock()
        server.announce(V2, banner="b")
        await until(lambda: client.counts.fetch_errors >= TRIES - 1)
        assert len(server.documents) - before <= 1 + (clock() - began) / LEAST
        assert (client.value("banner"), client.version) == ("a", V1)
        assert not client.is_current
        assert len(warnings(caplog)) == 1, warnings(caplog)
        assert "flags could not be fetched (" in warnings(caplog)[0]

        server.document_scripts = []
        await until(lambda: client.version == V2 and client.is_current)
        assert client.value("banner") == "b"
        assert len(warnings(caplog)) == 1
        assert "the flags API answers again" in caplog.text


@pytest.mark.asyncio
async def test_a_slow_drip_is_a_stream_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    async def drip(peer: Peer) -> None:
        await peer.head()
        for byte in b": ping\n\n" + event(V2):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.002)
        await peer.hold()

    async with ScriptedServer([drip]) as server, client_of(server.url) as client:
        server.announce(V2, banner="b")
        await until(lambda: client.version == V2)
        assert len(server.streams) == 1
        assert not warnings(caplog)


# TLS.


@dataclass
class TlsServer(ScriptedServer):
    """Speaks TLS with `context`, or plain where it has none."""

    context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def listen(self) -> None:
        self._peers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two certificates for localhost, each signed by itself: `trusted` and `another`."""
    if shutil.which("openssl") is None:
        missing("openssl", "openssl")
    folder = tmp_path_factory.mktemp("tls")
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    for name in ("trusted", "another"):
        files = ["-keyout", f"{name}.key", "-out", name, "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run([*request.split(), *files], cwd=folder, check=True, capture_output=True)
    return folder


def presenting(certificates: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / name, certificates / f"{name}.key")
    return context


@asynccontextmanager
async def trusting(certificates: Path, server: ScriptedServer) -> AsyncIterator[FlagClient]:
    trust = ssl.create_default_context(cafile=certificates / "trusted")
    async with (
        httpx.AsyncClient(verify=trust, trust_env=False) as http,
        client_of(server.url, http=http, require_ready=False) as client,
    ):
        yield client


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["a server that speaks no TLS", "a certificate that nobody trusts"])
async def test_tls_that_fails_is_tried_seldom_told_once_and_used_when_it_works(
    certificates: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = presenting(certificates, "another") if "certificate" in fault else None
    async with TlsServer(context=bad) as server, trusting(certificates, server) as client:
        await until(lambda: client.counts.stream_errors >= TRIES and client.counts.fetch_errors >= TRIES)
        assert not server.requests
        assert sorted(text[:10] for text in warnings(caplog)) == ["flags coul", "the flag s"], "once each"
        assert client.value("banner") is None

        await server.close()
        server.context = presenting(certificates, "trusted")
        await server.listen()
        await until(lambda: client.is_current)
        assert client.value("banner") == "a"
        assert len(warnings(caplog)) == 2


# The same with the settings that everybody has, on a clock of their own: docs/client.md has the figures.


MOST_STREAMS = {"redirect loop": 300 * REDIRECTS, "clean end after 2 s": 1400}
"""Requests an hour, 300 for what is not here. A stream that lives 2 s and ends as it should is no failure (rule 8)."""


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_an_hour_of_a_bad_stream_costs_a_few_hundred_requests(fault: str) -> None:
    hour = first_hour(1, STREAM_FAULTS[fault], DOCUMENT_FAULTS["good"])
    assert 1 <= hour.streams <= MOST_STREAMS.get(fault, 300)
    assert 1 <= hour.documents <= 75, "the first, and a poll a minute"
    assert hour.shortest_gap >= 1.0


@pytest.mark.parametrize("fault", DOCUMENT_FAULTS)
def test_an_hour_of_a_bad_document_costs_a_few_hundred_requests(fault: str) -> None:
    hour = first_hour(1, STREAM_FAULTS["good"], DOCUMENT_FAULTS[fault])
    assert 1 <= hour.documents <= 400
    assert hour.streams <= 160
