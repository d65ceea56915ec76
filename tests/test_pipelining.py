"""Requests that a client sends without waiting for answers (RFC 9112, 9.3.2), byte by byte over a real socket."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from flagstream.protocol import HEAD_LIMIT, IGNORED_LIMIT, HttpProtocol
from tests.stream_server.connections import Socket, connected, flood

pytestmark = pytest.mark.asyncio

READ = 256 * 1024
"""What the server reads at once, at the most."""


class Application:
    """Answers `POST` with the body and `GET` with the path; `/wait` only when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        self.left: list[str] = []
        self.server: uvicorn.Server | None = None
        self.most_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.server is not None
        self.asked.append(scope["path"])
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            self.most_held = max(self.most_held, *(len(one.held) for one in self.connections()))
            if not message["more_body"]:
                break
        if scope["path"] == "/wait":
            gone = asyncio.ensure_future(receive())
            going_on = asyncio.ensure_future(self.go_on.wait())
            await asyncio.wait([gone, going_on], return_when=asyncio.FIRST_COMPLETED)
            going_on.cancel()
            if gone.done():
                self.left.append(scope["path"])
                return
            gone.cancel()
        content = body or scope["path"].encode()
        headers = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def connections(self) -> list[HttpProtocol]:
        assert self.server is not None
        found = [one for one in self.server.server_state.connections if isinstance(one, HttpProtocol)]
        assert len(found) == len(self.server.server_state.connections)
        return found

    async def asked_for(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.asked) < count:
                await asyncio.sleep(0.002)

    async def idle(self) -> None:
        """Wait until nothing is connected or under way."""
        assert self.server is not None
        async with asyncio.timeout(30):
            while self.server.server_state.connections or self.server.server_state.tasks:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Application, str]]:
    """Serve an `Application` by our protocol until the block ends; gives it and its URL."""
    application = Application()
    config = uvicorn.Config(
        application, http=HttpProtocol, ws="none", lifespan="off", log_config=None, server_header=False
    )
    server = application.server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.002)
        try:
            yield application, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            application.go_on.set()
            server.should_exit = True
            await task


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def post(path: str, body: bytes, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *lines, "", ""]).encode() + body


def chunked(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def bodies(client: Socket, count: int) -> list[bytes]:
    """Read `count` answers, each of which must be a 200, and return their bodies."""
    found = []
    for _ in range(count):
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        found.append(await client.exactly(int(length.split()[1])))
    return found


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer)


REQUESTS = [
    *(get("/first"), b"\r\n" + post("/with-a-body", b"body 1"), get("/second", "X-Empty:", "X-More: " + "a" * 300)),
    *(post("/no-body", b""), b"\r\n\r\n" + get("/%20?query"), post("/heads", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n")),
    get("/last"),
]
ANSWERS = [b"/first", b"body 1", b"/second", b"/no-body", b"/ ", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"/last"]


def cuts() -> list[list[int]]:
    """Return the places at which to split the requests: nowhere, everywhere, and thirty times somewhere."""
    whole = len(b"".join(REQUESTS))
    chance = random.Random(9112)
    somewhere = [sorted(chance.sample(range(1, whole), chance.randint(1, 12))) for _ in range(30)]
    return [[], list(range(1, whole)), *somewhere]


async def test_requests_are_answered_in_order_however_the_network_splits_them() -> None:
    data = b"".join(REQUESTS)
    async with serving() as (_, url):
        for places in cuts():
            async with connected(url) as client:
                for begin, end in zip([0, *places], [*places, len(data)], strict=True):
                    client.send(data[begin:end])
                    await asyncio.sleep(0)
                assert await bodies(client, len(REQUESTS)) == ANSWERS, places


async def test_the_end_of_a_head_that_comes_in_two_reads_is_seen() -> None:
    head = get("/first")
    async with serving() as (application, url):
        for end in range(len(head) - 4, len(head)):
            application.asked.clear()
            async with connected(url) as client:
                client.send(head[:end])
                await asyncio.sleep(0.02)
                client.send(head[end:] + get("/second"))
                assert await bodies(client, 2) == [b"/first", b"/second"]


async def test_nothing_of_a_request_runs_before_the_one_in_front_of_it_is_answered() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/wait"))
        await application.asked_for(1)
        for number in range(5):
            client.send(post(f"/{number}", b"%d" % number))
            await asyncio.sleep(0.005)
        assert application.asked == ["/wait"]
        application.go_on.set()
        assert await bodies(client, 6) == [b"/wait", b"0", b"1", b"2", b"3", b"4"]


async def test_thousands_in_one_packet_are_served_one_by_one_with_others_in_between() -> None:
    many = 3000
    async with serving() as (_, url), connected(url) as greedy, connected(url) as modest:
        greedy.send(get("/g") * many)
        await greedy.head()
        modest.send(get("/m"))
        assert await bodies(modest, 1) == [b"/m"]
        assert application_has_not_finished(greedy, many)
        await greedy.exactly(2)
        assert await bodies(greedy, many - 1) == [b"/g"] * (many - 1)


def application_has_not_finished(client: Socket, requests: int) -> bool:
    """Tell whether fewer answers than requests have arrived so far."""
    return bytes(client.reader._buffer).count(b"HTTP/1.1") < requests - 1  # type: ignore[attr-defined] # asyncio's own


async def test_what_is_held_is_bounded_and_all_of_it_is_answered() -> None:
    bodies_sent = [b"%d " % number * 4000 for number in range(400)]
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/wait") + b"".join(post("/", body) for body in bodies_sent))
        await application.asked_for(1)
        [connection] = application.connections()
        async with asyncio.timeout(30):
            while len(connection.held) <= HEAD_LIMIT:
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)  # time to hold more, which it must not use
        assert HEAD_LIMIT < len(connection.held) <= HEAD_LIMIT + READ
        assert sum(map(len, bodies_sent)) > 10 * READ
        application.go_on.set()
        assert await bodies(client, 1 + len(bodies_sent)) == [b"/wait", *bodies_sent]
        assert application.most_held <= HEAD_LIMIT + READ
        assert not connection.held
        assert not connection.flow.read_paused


async def test_small_requests_without_end_are_held_in_bounds_while_they_are_served() -> None:
    many = 12_000
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/wait") + get("/" + "a" * 100) * many)
        await application.asked_for(1)
        application.go_on.set()
        await bodies(client, 4000)
        assert application.most_held <= HEAD_LIMIT + READ
        client.reset()
        await application.idle()
        assert len(application.asked) < many


async def test_behind_a_request_to_close_nothing_is_served() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/first", "Connection: close") + get("/second") * 10)
        answer = await client.rest()
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in answer
        await application.idle()
        assert application.asked == ["/first"]


async def test_who_floods_a_connection_that_is_to_be_closed_after_its_answer_is_cut() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/wait", "Connection: close"))
        await application.asked_for(1)
        assert await flood(client, get("/second") * 1000) >= IGNORED_LIMIT
        await application.idle()
        assert application.left == ["/wait"]


async def test_behind_a_request_of_http_1_0_nothing_is_served() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(b"GET /first HTTP/1.0\r\n\r\n" + get("/second"))
        assert (await client.rest()).count(b"HTTP/1.1 ") == 1
        await application.idle()
        assert application.asked == ["/first"]


async def test_a_client_that_says_no_more_gets_all_its_answers_and_is_told_which_is_the_last() -> None:
    async with serving() as (application, url):
        for slow in (False, True):
            application.go_on.clear()
            async with connected(url) as client:
                client.send(get("/wait" if slow else "/first") + get("/second") + post("/", b"third"))
                client.writer.write_eof()
                await asyncio.sleep(0.02 if slow else 0)
                application.go_on.set()
                answer = await client.rest()
                assert answer.count(b"HTTP/1.1 200 ") == 3
                assert answer.endswith(b"third")
                assert b"\r\nconnection: close\r\n" in answer.rpartition(b"HTTP/1.1 ")[2]
                assert answer.count(b"connection: close") == 1
            await application.idle()


@pytest.mark.parametrize("part", [get("/half")[:-1], b"G", b"\r\n", post("/half", b"half")[:-1]])
async def test_half_a_request_before_the_end_of_what_a_client_says_closes_the_connection(part: bytes) -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/first") + get("/second") + part)
        client.writer.write_eof()
        assert (await client.rest()).count(b"HTTP/1.1 200 ") == 2
        await application.idle()


@pytest.mark.parametrize("behind", [1, 20_000], ids=["little", "more than is held"])
async def test_nothing_is_served_for_a_client_that_has_gone(behind: int) -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/wait") + get("/second") * behind)
        await application.asked_for(1)
        await asyncio.sleep(0.05)
        client.reset()
        if behind > 1:
            application.go_on.set()  # nobody reads from that connection: writing finds out
        await application.idle()
        assert application.asked == ["/wait"]


async def test_a_malformed_request_is_refused_after_the_answers_before_it() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/first") + get("/second") + b"GARBAGE\r\n\r\n" + get("/third"))
        answer = await client.rest()
        assert statuses(answer) == [b"200", b"200", b"400"]
        await application.idle()
        assert application.asked == ["/first", "/second"]


async def test_a_head_that_is_too_large_is_refused_after_the_answers_before_it() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/first") + get("/second") + b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * HEAD_LIMIT)
        answer = await client.rest()
        assert statuses(answer) == [b"200", b"200", b"431"]
        await application.idle()


async def test_half_a_head_behind_others_ends_with_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpProtocol, "head_time", 0.1)
    async with serving() as (application, url), connected(url) as client:
        client.send(get("/first") + get("/second") + get("/third")[:-1])
        answer = await client.rest()
        assert statuses(answer) == [b"200", b"200", b"408"]
        await application.idle()


async def test_behind_a_chunked_body_in_the_same_read_nothing_is_served_and_the_answer_says_so() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(chunked("/first", b"chunked") + get("/second"))
        answer = await client.rest()
        assert answer.endswith(b"chunked")
        assert b"\r\nconnection: close\r\n" in answer
        await application.idle()
        assert application.asked == ["/first"]


async def test_behind_a_chunked_body_in_another_read_requests_are_served() -> None:
    async with serving() as (application, url), connected(url) as client:
        client.send(chunked("/wait", b"chunked"))
        await application.asked_for(1)
        await asyncio.sleep(0.02)
        client.send(get("/second") + post("/", b"third"))
        await asyncio.sleep(0.02)
        application.go_on.set()
        assert await bodies(client, 3) == [b"chunked", b"/second", b"third"]


async def test_the_body_of_a_request_to_upgrade_is_a_body_and_no_request() -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    smuggled = get("/smuggled")
    async with serving() as (application, url):
        async with connected(url) as client:
            client.send(post("/first", smuggled, *upgrade) + get("/second", *upgrade) + get("/third"))
            assert await bodies(client, 3) == [smuggled, b"/second", b"/third"]
            for byte in post("/first", smuggled, *upgrade):
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert await bodies(client, 1) == [smuggled]
        async with connected(url) as client:
            head = "\r\n".join(["POST / HTTP/1.1", "Transfer-Encoding: chunked", *upgrade, "", ""]).encode()
            client.send(head + b"%x\r\n" % len(smuggled) + smuggled + b"\r\n0\r\n\r\n")
            assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await application.idle()
        assert "/smuggled" not in application.asked
