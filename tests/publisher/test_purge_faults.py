"""Whatever an edge does, purging lives on, waits no longer than its patience and keeps nothing of what it was sent."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from publisher.messages import surrogate_key
from publisher.purging.varnish import VarnishEdge
from tests.documents.upstream import serving
from tests.edge.fastly_stand_in import SERVICE
from tests.publisher.test_purge_edges import NAME, OK, answering, fastly, nearly_over, purging, until, varnish
from tests.servers import free_port

pytestmark = pytest.mark.asyncio

OTHER = surrogate_key("document", "f")
REFUSAL = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
NO_LINGER = struct.pack("ii", 1, 0)


class Node:
    """A node that answers each request with the next of `answers`, the last one for ever; `reset` breaks idle ones."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.seen: list[str] = []
        self.asked: list[int] = []
        """The connection of each request, by its number."""
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await turns()

    async def reset(self) -> None:
        """Have every connection answer with RST, and let the loop hear of it."""
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()
        self._writers.clear()
        await turns()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            async for name in answering(reader):
                self.seen.append(name)
                self.asked.append(connection)
                writer.write(self.answers[0])
                if len(self.answers) > 1:
                    del self.answers[0]


async def turns() -> None:
    """Let the loop look at its sockets a few times."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_kept_connection_that_was_reset_is_no_failure() -> None:
    node = Node(OK)
    async with node.serving() as port, purging(varnish(port)) as purges:
        for times in range(1, 6):
            assert await purges.purge(NAME)
            await node.reset()
            assert (node.connections, purges.counters.failed) == (times, 0)
        assert node.seen == [NAME] * 5


async def test_what_was_answered_unasked_confirms_no_later_purge() -> None:
    node = Node(OK + OK, REFUSAL)
    async with node.serving() as port, purging(varnish(port)) as purges:
        assert await purges.purge(NAME)
        await turns()
        assert not await purges.purge(OTHER, since=nearly_over())
        await until(lambda: purges.fault == "it answers 503", "the answer to the second")
        assert purges.counters.purged == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
async def test_every_form_that_an_answer_may_have_is_understood_on_one_connection(answer: bytes) -> None:
    node = Node(answer)
    async with node.serving() as port, purging(varnish(port)) as purges:
        assert await purges.purge(NAME)
        assert await purges.purge(OTHER)
        assert (node.connections, purges.counters.failed) == (1, 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 4_000_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 4_000_000,
    ],
)
async def test_what_is_no_answer_to_a_purge_is_not_read_to_its_end(answer: bytes) -> None:
    async with Node(answer).serving() as port, purging(varnish(port)) as purges:
        assert not await purges.purge(NAME, since=nearly_over())
        await until(lambda: purges.fault == "what it answers is not HTTP", "finding it out")


async def test_a_connection_whose_answer_does_not_end_is_not_asked_again() -> None:
    node = Node(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", OK)
    async with node.serving() as port, purging(varnish(port), patience=0.3) as purges:
        assert not await purges.purge(NAME)
        await until(lambda: purges.counters.purged == 1, "the purge behind")
        assert node.asked[0] not in node.asked[1:]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, in one file."""
    file = tmp_path_factory.mktemp("tls") / "edge.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=edge"
    made = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", str(file)]
    subprocess.run(made, check=True, capture_output=True)
    return file


@contextmanager
def tls_node(certificate: Path, answers: Sequence[bytes], garbage: bytes) -> Iterator[int]:
    """Answer as many requests as there are `answers`, and every other with `garbage` outside of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    left, stop = list(answers), threading.Event()

    def serve() -> None:
        while not stop.is_set():
            plain, _ = listener.accept()
            beneath = socket.socket(fileno=os.dup(plain.fileno()))
            with beneath, suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                while secure.recv(65536) and left:
                    secure.sendall(left.pop(0))
                beneath.sendall(garbage)
                while beneath.recv(65536):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


GARBAGE = b"no record of TLS at all, by far\r\n" * 4


@pytest.mark.parametrize("answers", [[], [OK]])
async def test_garbage_outside_of_tls_is_a_broken_connection(
    certificate: Path, answers: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_node(certificate, answers, GARBAGE) as port:
        async with purging(VarnishEdge(f"https://127.0.0.1:{port}")) as purges:
            assert await purges.purge(NAME, since=None if answers else nearly_over(0.5)) is bool(answers)
            await turns()
            assert not await purges.purge(OTHER, since=nearly_over(0.5))
            await until(lambda: purges.fault == "the connection broke", "the failure")


async def test_a_name_that_cannot_be_looked_up_is_told_and_ends_nothing() -> None:
    async with purging(VarnishEdge(f"http://{'a' * 64}.invalid:80")) as purges:
        assert not await purges.purge(NAME, since=nearly_over())
        await until(lambda: purges.fault.startswith("it cannot be reached: "), "the failure")


async def test_a_node_of_several_addresses_is_away_only_when_all_refuse() -> None:
    async with purging(VarnishEdge(f"http://localhost:{free_port()}")) as purges:
        assert await purges.purge(NAME)
        assert purges.fault == "the connection is refused"


class Odd:
    """An edge whose client fails in a way that nobody foresaw, once for each of `failures`."""

    name = "odd"
    batch = 1
    lanes = 4

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)

    async def purge(self, names: Sequence[str]) -> None:
        del names
        if self.failures:
            raise self.failures.pop(0)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.EHOSTUNREACH, "No route to host"),
        ssl.SSLError(1, "record layer failure"),
        RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
        ValueError("Exceeds the limit (4300 digits) for integer string conversion"),
        OverflowError("int too large to convert to float"),
        asyncio.CancelledError(),
        BaseExceptionGroup("unhandled errors in a TaskGroup", [OSError()]),
    ],
)
async def test_a_failure_that_nobody_foresaw_is_a_failed_purge_and_tried_again(failure: BaseException) -> None:
    async with purging(Odd(failure)) as purges:
        assert await purges.purge(NAME)
        assert (purges.counters.failed, purges.waiting, purges.fault) == (1, 0, "")


async def test_an_unforeseen_failure_is_logged_with_its_trace_once(capsys: pytest.CaptureFixture[str]) -> None:
    async with purging(Odd(*[ZeroDivisionError("nobody thought of it")] * 3)) as purges:
        assert await purges.purge(NAME)
    told = capsys.readouterr()
    assert (told.out + told.err).count("ZeroDivisionError: nobody thought of it") == 1


@asynccontextmanager
async def api(answer: Callable[[Request], Response]) -> AsyncIterator[tuple[int, list[Request]]]:
    """Serve what is no API of Fastly; the second value is every request."""
    asked: list[Request] = []

    async def take(request: Request) -> Response:
        asked.append(request)
        return answer(request)

    async with serving(Starlette(routes=[Route("/service/{rest:path}", take, methods=["POST"])])) as port:
        yield port, asked


@pytest.mark.parametrize("header", ["Fastly-RateLimit-Reset", "Retry-After"])
@pytest.mark.parametrize("digits", [400, 5000])
async def test_a_limit_of_any_length_is_a_minute_at_most(header: str, digits: int) -> None:
    async with api(lambda _: Response(status_code=429, headers={header: "9" * digits})) as (port, asked):
        async with purging(fastly(port)) as purges:
            assert not await purges.purge(NAME, since=nearly_over(0.5))
            await until(lambda: purges.fault == "429, the limit of Fastly's API is reached", "the answer")
            assert not await purges.purge(OTHER)
        assert len(asked) == 1


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65536
        await asyncio.sleep(0)


async def test_an_answer_without_an_end_is_not_read_into_memory() -> None:
    async with (
        api(lambda _: StreamingResponse(endless())) as (port, _),
        purging(fastly(port, timeout=5.0), patience=5.0) as purges,
    ):
        waiting = asyncio.create_task(purges.purge(NAME))
        await until(lambda: bool(purges.fault), "giving up reading")
        assert purges.fault == "what its API answers is too long"
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_nothing_that_fastly_sets_is_kept_or_sent_back() -> None:
    names = iter(range(1000))
    async with (
        api(lambda _: Response(headers={"Set-Cookie": f"name{next(names)}=value; Path=/"})) as (port, asked),
        purging(fastly(port)) as purges,
    ):
        assert await purges.purge(NAME)
        assert await purges.purge(OTHER)
        assert not [request for request in asked if "cookie" in request.headers]
        assert SERVICE in str(asked[0].url)
