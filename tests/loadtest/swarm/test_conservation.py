"""Whatever a server does, every client is somewhere, and what both sides counted is the same."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from loadtest.messages import Close, Cut, Group, GroupSample, Open
from loadtest.models import MODELS, Loss
from tests.loadtest.swarm.driving import Driven
from tests.sdk_client.scripted import V1, Peer, ScriptedServer, answers, event

pytestmark = pytest.mark.asyncio

CLIENTS = 12
CHAOS = 1.5
IMPATIENT = replace(MODELS["flagsmith-go"], name="impatient", open_timeout=0.3)
"""Is never answered at all, so that nothing can be on its way as it gives up, however long the server is held up."""
RESTLESS = replace(MODELS["flagsmith-js"], name="restless")
"""Leaves and comes, so streams may be on their way as it leaves."""


class RoomyServer(ScriptedServer):
    """Has room for all who connect while it is held up: a connection that finds none may be given up unheard."""

    async def listen(self) -> None:
        self._peers = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]


@dataclass
class Chaos:
    """A script that does anything, and counts by model what clients must have noticed."""

    chance: random.Random
    counted: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    calm: bool = False
    _asked: Counter[asyncio.StreamWriter] = field(default_factory=Counter)

    async def __call__(self, peer: Peer) -> None:
        model = peer.request.headers["user-agent"].partition("(")[2].rstrip(")")
        told = self.counted[model]
        told["requests"] += 1
        self._asked[peer._writer] += 1
        first = self._asked[peer._writer] == 1
        if model == IMPATIENT.name:
            await peer.hold()
        else:
            await self._answer(peer, told, first)

    async def _answer(self, peer: Peer, told: Counter[str], first: bool) -> None:
        what = self.chance.choices(("stream", "hold", "503", "html", "close"), (10, 1, 2, 1, 2))[0]
        if self.calm or what == "hold":
            await peer.hold()
        elif what == "503":
            told["status"] += 1
            await answers(503, b"later", Retry_After="1")(peer)
        elif what == "html":
            told["status"] += 1
            await answers(200, b"<html>")(peer)
        elif what == "close":
            told["closed" if first else "closed again"] += 1
            await peer.cut()
        else:
            await self._stream(peer, told)

    async def _stream(self, peer: Peer, told: Counter[str]) -> None:
        chance = self.chance
        lasting = chance.random() < 0.3
        await asyncio.sleep(chance.choice((0, 0, 0.1)))
        more = "X-Stream-Lifetime: 3\r\nX-Stream-Join-Window: 1\r\n" if lasting else ""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{more}\r\n"
        body = b"".join(event(V1 + chance.randrange(5)) for _ in range(chance.randrange(4))) + b": there\n\n"
        told["opened"] += 1
        told["events"] += body.count(b"data:")
        await peer.raw(head.encode() + b"%x\r\n%s\r\n" % (len(body), body))
        if lasting:  # those that replace their streams close them when they like
            await peer.hold()
            return
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(chance.uniform(0, 0.1))
            told["events"] += 1
            await peer.event(V1 + chance.randrange(9))
        what = chance.choice(("end", "end and close", "cut", "reset", "nonsense"))
        told["ended" if what.startswith("end") else "cut"] += 1
        if what.startswith("end"):
            await peer.end()
            if what == "end and close":
                peer._writer.close()
            return
        if what == "reset":
            linger = struct.pack("ii", 1, 0)
            peer._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif what == "nonsense":
            await peer.raw(b"zz\r\n")
            await peer.hold()
        await peer.cut()


@dataclass
class Sums:
    """What one group counted from its first sample on; `now` are its levels."""

    counts: Counter[str] = field(default_factory=Counter)
    lost: Counter[Loss] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    now: GroupSample = field(default_factory=GroupSample)

    def add(self, sample: GroupSample) -> None:
        self.now = sample
        self.counts.update({name: value for name, value in vars_of(sample).items() if isinstance(value, int)})
        self.lost.update({Loss(kind): count for kind, count in sample.lost.items()})
        self.errors.update(sample.errors)

    def hold(self, *, replaces: bool, leaves: bool) -> None:
        """Assert what must be true at any moment."""
        now, counts, lost = self.now, self.counts, self.lost
        without_live = now.clients - now.open - now.waiting - now.gave_up
        assert 0 <= without_live <= now.connecting
        assert 0 <= sum(now.hurt.values()) <= now.waiting + without_live
        if not replaces:
            assert without_live == now.connecting
        if not leaves:
            attempts = lost[Loss.REFUSED] + lost[Loss.STATUS]
            assert counts["requests"] == counts["opened"] + attempts + now.connecting
            over = lost[Loss.CLEAN] + lost[Loss.CUT] + lost[Loss.SILENT] + counts["replaced"]
            assert counts["opened"] == now.open + over

    def agrees(self, told: Counter[str]) -> bool:
        """Tell whether the server counted the same."""
        lost = self.lost
        return (
            self.counts["requests"] == told["requests"] - told["closed again"]
            and self.counts["opened"] == told["opened"]
            and self.counts["events"] == told["events"]
            and lost[Loss.CLEAN] == told["ended"]
            and lost[Loss.CUT] == told["cut"]
            and lost[Loss.STATUS] == told["status"]
            and lost[Loss.REFUSED] - self.errors["no answer in time"] == told["closed"]
        )


def vars_of(sample: GroupSample) -> dict[str, object]:
    return {name: getattr(sample, name) for name in sample.__struct_fields__}


def sockets_of(pid: int) -> int:
    return sum(str(each.readlink()).startswith("socket:") for each in Path(f"/proc/{pid}/fd").iterdir())


async def test_every_client_is_somewhere_and_both_sides_count_the_same() -> None:
    chaos = Chaos(random.Random(7))
    models = [*MODELS.values(), IMPATIENT, RESTLESS]
    groups = [
        Group(
            name=model.name,
            model=model,
            target=0,
            first=number * CLIENTS,
            count=CLIENTS,
            fetches=False,
            stays=(0.05, 0.5) if model is RESTLESS else None,
        )
        for number, model in enumerate(models)
    ]
    sums = [Sums() for _ in groups]
    leaving = {RESTLESS.name}
    seen = 0

    def all_add_up() -> bool:
        nonlocal seen
        for sample in driven.told.samples[seen:]:
            for model, group, sum_ in zip(models, sample.groups, sums, strict=True):
                sum_.add(group)
                sum_.hold(replaces=model.replaces, leaves=model.name in leaving)
        seen = len(driven.told.samples)
        return all(
            sum_.agrees(chaos.counted[model.name])
            for model, sum_ in zip(models, sums, strict=True)
            if model is not RESTLESS
        )

    def has_seen_all() -> bool:
        all_add_up()
        opened = [sum_.counts["opened"] for model, sum_ in zip(models, sums, strict=True) if model is not IMPATIENT]
        kinds = {kind for sum_ in sums for kind in sum_.lost}
        return min(opened) > 0 and kinds >= {Loss.CLEAN, Loss.CUT, Loss.REFUSED, Loss.STATUS}

    async with RoomyServer(scripts=[chaos]) as server, Driven() as driven:
        before = sockets_of(driven.ready.pid)
        driven.start(server.port, groups=groups)
        for number, group in enumerate(groups):
            driven.say(Open(group=number, first=group.first, count=CLIENTS, over=0.3))
        loop = asyncio.get_running_loop()
        end = loop.time() + CHAOS
        await driven.until(lambda _: has_seen_all() and loop.time() > end)
        chaos.calm = True
        await driven.until(lambda _: all_add_up())

        driven.say(Cut(share=0.5))
        await driven.report()
        all_add_up()
        leaving.update(model.name for model in models)
        for number in range(len(groups)):
            driven.say(Close(group=number, count=CLIENTS))
        await driven.report()
        all_add_up()
        assert sum(sum_.now.open + sum_.now.connecting + sum_.now.waiting for sum_ in sums) == 0
        assert sockets_of(driven.ready.pid) == before
