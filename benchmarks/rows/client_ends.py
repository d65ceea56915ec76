"""How soon each client asks for its next stream, by how the last one ended, and whether on the same connection."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.faulty import wire
from benchmarks.faulty.conducting import App
from benchmarks.faulty.contenders import CONTENDERS, OKHTTP, TURNS, Contender
from benchmarks.faulty.peers import Peer
from benchmarks.faulty.verdict import busiest
from benchmarks.faulty.world import World
from benchmarks.processes import EndedError
from benchmarks.results import Table
from benchmarks.rows.field import temporary
from benchmarks.servers_under_test import NotInstalledError

__all__ = ["WAYS", "Returns", "ends", "watched"]

START: Final = 30.0
POLL: Final = 0.02
LIFE: Final = 1.1
"""Seconds that a stream lives at least; one of less than 1 s counts as none for ours."""
SPREAD: Final = 0.09
"""Seconds by which a stream lives longer than the one before, seven times over: ends fall anywhere in a second."""
HOT: Final = 100
"""More ends than this are a loop without a pause, of which no single one is worth keeping."""

STREAMING: Final = {**CONTENDERS, OKHTTP.name: OKHTTP}

Way = Callable[[World, Peer], Awaitable[None]]


async def _live(world: World, peer: Peer) -> None:
    peer.begin_stream()
    peer.send("retry: 2000\n" + wire.event(world.changes[-1]))
    await peer.writer.drain()
    await asyncio.sleep(LIFE + SPREAD * (len(world.stream_requests) % 7))


async def _ended(world: World, peer: Peer) -> None:
    await _live(world, peer)
    peer.writer.write(b"0\r\n\r\n")


async def _ended_and_closed(world: World, peer: Peer) -> None:
    await _live(world, peer)
    peer.end()


async def _cut(world: World, peer: Peer) -> None:
    await _live(world, peer)
    peer.cut()


async def _closed(world: World, peer: Peer) -> None:
    await _live(world, peer)
    peer.writer.close()


async def _reset(world: World, peer: Peer) -> None:
    del world
    peer.cut()


def _answer(status: int, content_type: str = "text/plain") -> Way:
    async def answer(world: World, peer: Peer) -> None:
        del world
        peer.answer(status, b"", content_type)

    return answer


async def _instant_end(world: World, peer: Peer) -> None:
    peer.begin_stream()
    peer.send(wire.event(world.changes[-1]))
    peer.writer.write(b"0\r\n\r\n")


WAYS: Final[Mapping[str, Way]] = {
    "clean end": _ended,
    "clean end, connection closed": _ended_and_closed,
    "cut": _cut,
    "closed without the final chunk": _closed,
    "reset before the head": _reset,
    "503": _answer(503),
    "404": _answer(404),
    "204": _answer(204),
    "empty 200": _answer(200, "text/event-stream"),
    "200 of another type": _answer(200, "text/html"),
    "instant end": _instant_end,
}
"""Each way to end a stream; connections stay open except where it says so."""


@dataclass(slots=True)
class Returns:
    """When streams ended, and when and from which of the client's ports the next ones were asked for; Unix seconds."""

    ends: list[float] = field(default_factory=list)
    asked: list[tuple[float, int]] = field(default_factory=list)

    def noting(self, way: Way) -> Way:
        """Return `way`, noting each request and each end."""

        async def noted(world: World, peer: Peer) -> None:
            self.asked.append((time.time(), peer.writer.get_extra_info("peername")[1]))
            await way(world, peer)
            self.ends.append(time.time())

        return noted

    @property
    def waits(self) -> list[float]:
        """The seconds between each end and the next request."""
        return [asked - end for end, (asked, _) in zip(self.ends, self.asked[1:], strict=False)]

    @property
    def kept(self) -> int:
        """How many of the next requests came on the connection of the stream before."""
        return sum(self.asked[number][1] == self.asked[number + 1][1] for number in range(len(self.asked) - 1))


async def watched(contender: Contender, way: Way, seconds: float, log: Path) -> Returns:
    """Return how a client came back from streams that all ended in one way; raises EndedError if it opened none."""
    returns = Returns()
    async with World() as world:
        world.stream_answer = returns.noting(way)
        async with App(contender.command(world.url), log) as app:
            deadline = time.monotonic() + START
            while not returns.asked and time.monotonic() < deadline and app.running:
                await asyncio.sleep(POLL)
            if not returns.asked:
                raise EndedError(f"{contender.name} opened no stream: {_said(log)}")
            await asyncio.sleep(seconds)
    return returns


def _said(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def ends(*, only: Sequence[str] = tuple(STREAMING), seconds: float = 20.0) -> Table:
    """End every stream of a client in one way for some seconds and time its next requests; then in the next way."""
    lacking = {name: need for name in only if (need := STREAMING[name].needs()) is not None}
    for name, need in lacking.items():
        print(f"left out: {name}, which needs {need}")
    turns = [[name for name in turn if name in only and name not in lacking] for turn in (*TURNS, (OKHTTP.name,))]
    if not any(turns):
        raise NotInstalledError("none of the clients is installed")
    seen: dict[tuple[str, str], Returns] = {}
    faults: list[str] = []
    with temporary() as folder:
        for way, answer in WAYS.items():
            for turn in turns:
                for name, returns in zip(turn, asyncio.run(_turn(turn, answer, seconds, folder)), strict=True):
                    if isinstance(returns, EndedError):
                        faults.append(f"{way}: {returns}")
                    elif isinstance(returns, BaseException):
                        raise returns
                    else:
                        seen[name, way] = returns
    return Table(
        row="client-ends",
        title="From the end of a stream to the request for the next",
        conditions={"seconds": seconds, "stream_s": LIFE, **({"left_out": ", ".join(lacking)} if lacking else {})},
        columns=["client", "way", "ends", "kept", "least_s", "median_s", "most_s", "a_second"],
        lines=[
            _line(client, way, seen[client, way])
            for turn in turns
            for client in turn
            for way in WAYS
            if (client, way) in seen
        ],
        series={
            f"{client}, {way}": list(zip(returns.ends, returns.waits, strict=False))
            for (client, way), returns in seen.items()
            if len(returns.ends) <= HOT
        },
        faults=faults,
    )


async def _turn(names: Sequence[str], way: Way, seconds: float, folder: Path) -> Sequence[Returns | BaseException]:
    return await asyncio.gather(
        *(watched(STREAMING[name], way, seconds, folder / f"{name}.log") for name in names), return_exceptions=True
    )


def _line(client: str, way: str, returns: Returns) -> Mapping[str, object]:
    waits = returns.waits
    line = {"client": client, "way": way, "ends": len(returns.ends), "kept": returns.kept}
    if not waits:
        return line
    return {
        **line,
        "least_s": min(waits),
        "median_s": statistics.median(waits),
        "most_s": max(waits),
        "a_second": busiest([asked for asked, _ in returns.asked]),
    }
