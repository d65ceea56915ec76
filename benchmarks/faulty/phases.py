"""The fault script: one phase after the other, the same for every client.

Each phase is a fault for `seconds`, with changes at set moments of it. Then the server is well again; a client has
`PATIENCE` to become current by itself, then one last change and `PATIENCE` again to hold that.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.faulty import wire
from benchmarks.faulty.peers import Peer
from benchmarks.faulty.wire import Change
from benchmarks.faulty.world import Answer, World, answer_document, answers, document, follow

__all__ = ["PATIENCE", "PHASES", "SECONDS", "Phase", "heal"]

SECONDS: Final = 5.0
PATIENCE: Final = 7.0
"""More than a client that waits in seconds needs: our own tries again or polls within 6 s."""

SPELL: Final = 3.0
"""Seconds in which documents fail after a change, and streams live before they end by themselves."""
SLOWNESS: Final = 1.5
LAG: Final = 1.0
CUT_AFTER: Final = 0.5

STEADY: Final = (0.5, 1.5, 2.5, 3.5, 4.5)

Begin = Callable[[World], Awaitable[None]]


async def nothing(world: World) -> None:
    """Leave everything as it is."""
    del world


@dataclass(frozen=True, slots=True)
class Phase:
    """A fault: `begin` brings it about, `changes` are in seconds from there; `seen` tells that requests reach us.

    What `prepare` does comes before, and is not counted. Whoever is not current `patience` seconds later is given up.
    """

    name: str
    begin: Begin
    changes: tuple[float, ...] = STEADY
    seen: bool = True
    prepare: Begin = nothing
    seconds: float = SECONDS
    patience: float = PATIENCE


async def heal(world: World) -> None:
    """Make the server well: good streams, the newest document at once."""
    world.stream_answer = follow
    world.document_answer = document
    world.announcing = lambda world: world.changes[-1:]
    world.resets = False
    world.lifetime, world.join_window = 3600.0, 1800.0
    await world.listen()


def _streams(answer: Answer) -> Begin:
    """End the streams that are open, and answer all that come by `answer`."""

    async def begin(world: World) -> None:
        world.stream_answer = answer
        world.end_streams()

    return begin


async def _instant_end(world: World, peer: Peer) -> None:
    """End at once, as an edge does that replays a stream that has ended."""
    peer.begin_stream(lifetime=30, join_window=20)
    peer.send(wire.event(world.changes[-1]))
    peer.end()


async def _cut_soon(world: World, peer: Peer) -> None:
    asyncio.get_running_loop().call_later(CUT_AFTER, peer.cut)
    await follow(world, peer)


async def _short_streams(world: World) -> None:
    """Let the next stream be the first that announces a short life, and wait for it: its end surprises nobody."""
    world.lifetime, world.join_window = SPELL, 1.0
    before = {*world.streams}
    world.end_streams()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while world.streams <= before:
                await asyncio.sleep(0.01)


async def _refused(world: World) -> None:
    await world.refuse()


async def _reset(world: World) -> None:
    world.resets = True
    for peer in [*world.streams]:
        peer.cut()


async def _silent(world: World) -> None:
    """Let streams that are open go silent for ever, and later ones after a good beginning."""
    world.mute()

    async def silent(world: World, peer: Peer) -> None:
        asyncio.get_running_loop().call_soon(world.mute)
        await follow(world, peer)

    world.stream_answer = silent


async def _documents_fail(world: World) -> None:
    async def answer(world: World, peer: Peer) -> None:
        if time.time() - world.changes[-1].at < SPELL:
            peer.answer(500)
        else:
            await document(world, peer)

    world.document_answer = answer


async def _documents_slow(world: World) -> None:
    async def answer(world: World, peer: Peer) -> None:
        change = world.changes[-1]
        await asyncio.sleep(SLOWNESS)
        answer_document(peer, change)

    world.document_answer = answer


async def _documents_behind(world: World) -> None:
    async def answer(world: World, peer: Peer) -> None:
        newest = world.changes[-1]
        answer_document(peer, world.changes[-2] if time.time() - newest.at < LAG else newest)

    world.document_answer = answer


async def _disorder(world: World) -> None:
    def announced(world: World) -> list[Change]:
        older = world.changes[:-1]
        return [*older[-1:], world.changes[-1], *older[-2:], world.changes[-1], *older[:1]]

    world.announcing = announced


PHASES: Final = (
    Phase("all well", nothing),
    Phase("streams end every 3 s", nothing, tuple(step / 4 for step in range(1, 19)), prepare=_short_streams),
    Phase("refused", _refused, seen=False),  # before phases that leave a port's worth of closed connections behind
    Phase("503", _streams(answers(503))),
    Phase("404", _streams(answers(404))),
    Phase("204", _streams(answers(204))),
    Phase("empty 200", _streams(answers(200, "text/event-stream"))),
    Phase("instant end", _streams(_instant_end)),
    Phase("cut after 0.5 s", _streams(_cut_soon)),
    Phase("reset", _reset),
    Phase("silent streams", _silent),
    Phase("documents fail for 3 s", _documents_fail, (0.5,)),
    Phase("a change while one loads", _documents_slow, (0.5, 1.0)),
    Phase("documents 1 s behind", _documents_behind, (0.5, 2.5)),
    Phase("repeats, disorder", _disorder),
)
