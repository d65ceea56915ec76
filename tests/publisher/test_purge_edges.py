"""The purges of one edge, over real sockets: what is sent, what is tried again, and who waits for how long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from publisher.messages import surrogate_key
from publisher.purging import queue
from publisher.purging.edge import AwayError, Edge, PurgeError
from publisher.purging.fastly import FastlyEdge
from publisher.purging.queue import EdgePurges
from publisher.purging.varnish import VarnishEdge
from tests.documents.upstream import serving
from tests.edge.fastly_stand_in import SERVICE, TOKEN, FastlyStandIn
from tests.servers import free_port

pytestmark = pytest.mark.asyncio

NAME = surrogate_key("document", "e")
PATIENCE = 5.0


def nearly_over(left: float = 0.3) -> float:
    """Return when a `PATIENCE` began of which so many seconds are left: what is to fail fails soon, on any machine."""
    return asyncio.get_running_loop().time() - PATIENCE + left


@asynccontextmanager
async def purging(edge: Edge, patience: float = PATIENCE) -> AsyncIterator[EdgePurges]:
    purges = EdgePurges(edge, patience=patience)
    task = asyncio.create_task(purges.run())
    try:
        yield purges
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()  # it ended by nothing else


def fastly(port: int, token: str = TOKEN, service: str = SERVICE, timeout: float = PATIENCE) -> FastlyEdge:
    return FastlyEdge(f"http://127.0.0.1:{port}", service, token, timeout)


def varnish(port: int) -> VarnishEdge:
    return VarnishEdge(f"http://127.0.0.1:{port}")


async def until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"{what} did not happen")


class VarnishStandIn:
    """Takes PURGE as the VCL does; `statuses` are its next answers."""

    def __init__(self) -> None:
        self.purged: list[str] = []
        self.statuses: list[int] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/", self._purge, methods=["PURGE"])])

    async def _purge(self, request: Request) -> Response:
        if self.statuses:
            return JSONResponse({}, self.statuses.pop(0))
        self.purged.append(request.headers["Surrogate-Key"])
        return JSONResponse({"status": "ok"})


async def test_one_purge_is_one_key_and_those_that_wait_together_are_one_batch() -> None:
    stand_in = FastlyStandIn()
    async with serving(stand_in.app()) as port, purging(fastly(port)) as purges:
        assert await purges.purge(NAME)
        assert stand_in.batches == [[NAME]]
        names = [surrogate_key("document", str(number)) for number in range(700)]
        assert all(await asyncio.gather(*(purges.purge(name) for name in names)))
        assert sorted(stand_in.purged[1:]) == sorted(names)
        assert len(stand_in.batches) <= 5
        assert max(map(len, stand_in.batches)) == 256
        assert purges.counters.purged == 701
        assert purges.fault == ""


@pytest.mark.parametrize(
    ("token", "service", "reason"),
    [
        ("another", SERVICE, "401, fastly_token is not good for purging this service"),
        (TOKEN, "another", "404, fastly_service is no service of this token"),
    ],
)
async def test_what_fastly_refuses_is_told_by_the_setting_that_is_wrong(token: str, service: str, reason: str) -> None:
    stand_in = FastlyStandIn()
    async with serving(stand_in.app()) as port, purging(fastly(port, token, service), patience=0.3) as purges:
        assert not await purges.purge(NAME)
        await until(lambda: purges.fault == reason, reason)  # a busy machine may not have had the answer in time
        assert TOKEN not in purges.name + purges.fault


@pytest.mark.parametrize("statuses", [[500], [503, 503], [502, 429, 500]])
async def test_a_failing_edge_is_asked_again_while_the_announcement_waits(statuses: list[int]) -> None:
    stand_in = FastlyStandIn()
    stand_in.statuses.extend(statuses)
    async with serving(stand_in.app()) as port, purging(fastly(port)) as purges:
        assert await purges.purge(NAME)
        assert stand_in.purged == [NAME]
        assert purges.counters.failed == len(statuses)
        assert (purges.fault, purges.waiting) == ("", 0)


async def test_at_its_limit_fastly_is_left_alone_until_the_window_ends() -> None:
    stand_in = FastlyStandIn(left=0)
    stand_in.reset = int(time.time()) + 2
    async with serving(stand_in.app()) as port, purging(fastly(port)) as purges:
        assert await purges.purge(NAME)
        assert time.time() >= stand_in.reset
        assert stand_in.asked == 2


async def test_nobody_waits_for_a_window_that_ends_after_his_patience() -> None:
    stand_in = FastlyStandIn(left=0, reset=time.time() + 3600)
    async with serving(stand_in.app()) as port, purging(fastly(port)) as purges:
        assert not await purges.purge(NAME, since=nearly_over())
        await until(lambda: bool(purges.fault), "the refusal")
        other = surrogate_key("document", "f")
        async with asyncio.timeout(PATIENCE - 1):
            assert not await purges.purge(other)
        assert purges.waiting == 2
        assert stand_in.asked == 1


async def test_what_was_not_purged_in_time_is_purged_behind_and_a_given_up_edge_holds_nobody_up() -> None:
    stand_in = FastlyStandIn(status=503)
    async with serving(stand_in.app()) as port, purging(fastly(port), patience=0.3) as purges:
        assert not await purges.purge(NAME)
        await until(lambda: purges.is_given_up, "giving it up")
        other = surrogate_key("document", "f")
        asked = stand_in.asked
        assert not await purges.purge(other)
        assert stand_in.asked == asked  # at once
        assert purges.waiting == 2
        stand_in.status = 200
        await until(lambda: not purges.waiting, "the purges behind")
        assert set(stand_in.purged) == {NAME, other}
        assert not purges.is_given_up
        assert await purges.purge(NAME, since=asyncio.get_running_loop().time() + 30)  # it is waited for again


async def test_a_frozen_edge_costs_its_own_patience_and_is_purged_when_it_thaws() -> None:
    frozen, well = FastlyStandIn(), FastlyStandIn()
    frozen.open.clear()
    async with (
        serving(frozen.app()) as frozen_port,
        serving(well.app()) as well_port,
        purging(fastly(frozen_port, timeout=0.3)) as slow,
        purging(fastly(well_port)) as quick,
    ):
        waiting = asyncio.create_task(slow.purge(NAME))
        assert await quick.purge(NAME)
        assert not waiting.done()
        assert not await slow.purge(NAME, since=nearly_over())
        assert not waiting.done()
        await until(lambda: slow.fault == "its API does not answer", "its failure")
        frozen.open.set()
        assert await waiting
        assert NAME in frozen.purged


async def test_a_purge_that_is_asked_for_while_one_is_under_way_is_made_anew() -> None:
    stand_in = FastlyStandIn()
    stand_in.open.clear()
    async with serving(stand_in.app()) as port, purging(fastly(port, timeout=5)) as purges:
        first = asyncio.create_task(purges.purge(NAME))
        await stand_in.until_asked(1)
        second = asyncio.create_task(purges.purge(NAME))
        await stand_in.until_asked(2)
        stand_in.open.set()
        assert await first
        assert await second
        assert stand_in.purged == [NAME, NAME]


async def test_who_stops_waiting_leaves_the_purge_behind() -> None:
    stand_in = FastlyStandIn(status=500)
    async with serving(stand_in.app()) as port, purging(fastly(port)) as purges:
        waiting = asyncio.create_task(purges.purge(NAME))
        await stand_in.until_asked(2)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert purges.waiting == 1
        stand_in.status = 200
        await until(lambda: not purges.waiting, "the purge behind")
        assert stand_in.purged == [NAME]


async def test_a_varnish_that_is_down_counts_as_purged_and_is_purged_when_it_is_back() -> None:
    port = free_port()
    stand_in = VarnishStandIn()
    async with purging(varnish(port)) as purges:
        assert await purges.purge(NAME)
        assert purges.fault == "the connection is refused"
        assert purges.counters.away >= 1
        assert not purges.is_given_up
        async with serving(stand_in.app(), port):
            await until(lambda: NAME in stand_in.purged, "the purge of what came back")
            await until(lambda: not purges.fault, "its being well")


async def test_fastlys_api_that_is_down_does_not_count_as_purged() -> None:
    edge = fastly(free_port())
    async with purging(edge, patience=0.3) as purges:
        assert not await purges.purge(NAME)
        with pytest.raises(PurgeError) as raised:
            await edge.purge([NAME])
        assert not isinstance(raised.value, AwayError)


async def test_a_varnish_that_refuses_the_publisher_says_so() -> None:
    stand_in = VarnishStandIn()
    stand_in.statuses = [403] * 100
    async with serving(stand_in.app()) as port, purging(varnish(port), patience=0.3) as purges:
        assert not await purges.purge(NAME)
        refused = "it answers 403, it does not let this address purge"
        await until(lambda: purges.fault == refused, refused)
        assert purges.name == f"varnish 127.0.0.1:{port}"


async def test_what_waits_is_bounded_and_what_was_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST", 10)
    stand_in = FastlyStandIn(status=500)
    async with serving(stand_in.app()) as port, purging(fastly(port)) as purges:
        for number in range(30):
            purges.later(str(number))
        assert purges.waiting == 10
        assert purges.counters.forgotten == 20


async def answering(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield the surrogate key of each request that comes."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        yield head.decode().rpartition("Surrogate-Key: ")[2].strip()


@asynccontextmanager
async def raw_varnish(answers: int, answer: bytes, seen: list[str]) -> AsyncIterator[int]:
    """Close every connection after so many answers, without having said so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = answers
        try:
            async for name in answering(reader):
                if not left:
                    break
                left -= 1
                seen.append(name)
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NAMES = [surrogate_key("document", str(number)) for number in range(10)]


@pytest.mark.parametrize(
    ("answers", "answer"),
    [(1, OK), (3, OK), (1, OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")), (1, b"HTTP/1.1 200 OK\r\n\r\n")],
)
async def test_a_varnish_that_closes_connections_is_purged_of_everything(answers: int, answer: bytes) -> None:
    seen: list[str] = []
    async with raw_varnish(answers, answer, seen) as port, purging(varnish(port)) as purges:
        assert all(await asyncio.gather(*(purges.purge(name) for name in NAMES)))
        assert await purges.purge(NAME)
        assert seen == [*NAMES, NAME]
        assert purges.counters.failed == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "what it answers is not HTTP"),
        (b"x" * 200_000, "what it answers is not HTTP"),
        (b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", "it answers 301"),
        (b"", "the connection broke"),
    ],
)
async def test_what_is_no_varnish_is_found_out(answer: bytes, reason: str) -> None:
    async with raw_varnish(1 if answer else 0, answer, []) as port, purging(varnish(port), patience=0.3) as purges:
        assert not await purges.purge(NAME)
        await until(lambda: purges.fault == reason, reason)  # a busy machine may not have had the answer in time
