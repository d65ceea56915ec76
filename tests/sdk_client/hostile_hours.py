"""What a client with default settings costs a server that does wrong for an hour, on a clock of its own.

`python -m tests.sdk_client.hostile_hours` prints the table of the manual.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from statistics import mean
from typing import Final

from sdk_client.documents import Document
from sdk_client.subscription import Action, Close, Fetch, Open, Subscription
from tests.sdk_client.scripted import V1, event

HOUR: Final = 3600.0
STREAM: Final[Mapping[str, str]] = {"content-type": "text/event-stream"}


@dataclass(frozen=True)
class StreamFault:
    """How a stream goes: the head after `answers` seconds (None: never), then `piece` every `every` seconds.

    `ends` and `cut` are seconds after the head; `refused` that no connection comes about, at all. `requests` are those
    of one try.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: STREAM)
    answers: float | None = 0.005
    refused: bool = False
    piece: bytes = b""
    every: float = 1.0
    ends: float | None = None
    cut: float | None = None
    requests: int = 1


@dataclass(frozen=True)
class DocumentFault:
    """How a fetch goes: it takes `seconds`, and fails, or brings the version `less` microseconds older."""

    seconds: float = 0.005
    fails: bool = False
    stale: bool = False
    less: int = 0
    retry_after: float = 0.0


ANNOUNCED: Final = {**STREAM, "x-stream-lifetime": "30", "x-stream-join-window": "20"}
PING: Final = b": ping\n\n"

STREAM_FAULTS: Final = {
    "good": StreamFault(headers=ANNOUNCED, piece=event(V1), every=15, ends=30),
    "500, 404 or 204": StreamFault(status=500),
    "503 with Retry-After: 120": StreamFault(status=503, headers={"retry-after": "120"}),
    "another type": StreamFault(headers={"content-type": "text/html"}),
    "connection refused or reset, TLS failure": StreamFault(refused=True),
    "connection accepted, never answered": StreamFault(answers=None),
    "redirect loop": StreamFault(refused=True, requests=6),
    "empty 200, instant end": StreamFault(ends=0.0),
    "instant end with retry: 0": StreamFault(piece=b"retry: 0\n", every=0.001, ends=0.002),
    "clean end after 2 s": StreamFault(piece=PING, ends=2.0),
    "cut after 2 s": StreamFault(piece=PING, cut=2.0),
    "cut after 15 s": StreamFault(piece=PING, cut=15.0),
    "garbage, then the end": StreamFault(piece=bytes(range(256)), every=0.01, ends=0.5),
    "garbage for ever": StreamFault(piece=bytes(range(256))),
    "a line without end": StreamFault(piece=b"x" * 65_536, every=0.001),
    "slow drip, a byte every 0.1 s": StreamFault(piece=b"x", every=0.1),
    "the same, with a lifetime of 30 s": StreamFault(headers=ANNOUNCED, piece=b"x", every=0.1),
    "silence": StreamFault(),
}
DOCUMENT_FAULTS: Final = {
    "good": DocumentFault(),
    "any error, at once": DocumentFault(fails=True),
    "503 with Retry-After: 120": DocumentFault(fails=True, retry_after=120.0),
    "no answer, slow drip, body without end": DocumentFault(fails=True, seconds=5.0),
    "older than announced": DocumentFault(less=1_000_000),
    "older, and says that it is stale": DocumentFault(less=1_000_000, stale=True),
}


@dataclass
class Hour:
    """What was asked for; `shortest_gap` is in seconds, between two tries of a stream."""

    streams: int
    documents: int
    shortest_gap: float


class _World:
    def __init__(self, seed: int, stream: StreamFault, document: DocumentFault) -> None:
        self.now = 0.0
        self.opened: list[float] = []
        self.fetched = 0
        self._client = Subscription(random=Random(seed))
        self._stream = stream
        self._document = document
        self._there: set[int] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._tick_at = float("inf")

    def run(self, until: float) -> None:
        self._do(self._client.start(self.now))
        self._do(self._client.follow(self.now))
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + seconds, self._number, action))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Open(stream):
                    self._open(stream)
                case Close(stream):
                    self._there.discard(stream)
                case Fetch(version):
                    self._fetch(version)
        deadline = self._client.deadline
        if deadline < self._tick_at:
            self._tick_at = deadline
            self._after(max(0.0, deadline - self.now), lambda: self._tick(deadline))

    def _tick(self, at: float) -> None:
        if at == self._tick_at:
            self._tick_at = float("inf")
            self._do(self._client.tick(max(self.now, at)))

    def _open(self, stream: int) -> None:
        fault = self._stream
        self.opened.append(self.now)
        self._there.add(stream)
        if fault.refused:
            self._after(0.005, lambda: self._end(stream, clean=False))
        elif fault.answers is not None:
            self._after(fault.answers, lambda: self._answer(stream))

    def _answer(self, stream: int) -> None:
        fault = self._stream
        if stream not in self._there:
            return
        self._do(self._client.opened(stream, fault.status, fault.headers, self.now))
        if fault.piece:
            self._after(0.0, lambda: self._say(stream))
        if fault.ends is not None:
            self._after(fault.ends, lambda: self._end(stream, clean=True))
        if fault.cut is not None:
            self._after(fault.cut, lambda: self._end(stream, clean=False))

    def _say(self, stream: int) -> None:
        if stream in self._there:
            self._do(self._client.received(stream, self._stream.piece, self.now))
            self._after(self._stream.every, lambda: self._say(stream))

    def _end(self, stream: int, *, clean: bool) -> None:
        if stream in self._there:
            self._there.discard(stream)
            client = self._client
            self._do(client.ended(stream, self.now) if clean else client.failed(stream, "no", self.now))

    def _fetch(self, _: int) -> None:
        self.fetched += 1
        fault = self._document

        def land() -> None:
            if fault.fails:
                self._do(self._client.fetch_failed(self.now, fault.retry_after))
            else:
                document = Document({}, V1 - fault.less, labelled=True, stale=fault.stale)
                self._do(self._client.fetched(document, self.now))

        self._after(fault.seconds, land)


def first_hour(seed: int, stream: StreamFault, document: DocumentFault) -> Hour:
    """Return what the first hour costs."""
    world = _World(seed, stream, document)
    world.run(HOUR)
    gaps = [b - a for a, b in pairwise(world.opened)]
    return Hour(len(world.opened) * stream.requests, world.fetched, min(gaps, default=HOUR))


def main() -> None:
    """Print the table: means of 100 clients."""
    rows = [(f"stream: {name}", fault, DOCUMENT_FAULTS["good"]) for name, fault in STREAM_FAULTS.items()]
    rows += [(f"document: {name}", STREAM_FAULTS["good"], fault) for name, fault in DOCUMENT_FAULTS.items()]
    print("| what is wrong | streams an hour | documents an hour |\n|---|---:|---:|")  # noqa: T201
    for name, stream, document in rows:
        hours = [first_hour(seed, stream, document) for seed in range(100)]
        print(f"| {name} | {mean(h.streams for h in hours):.0f} | {mean(h.documents for h in hours):.0f} |")  # noqa: T201


if __name__ == "__main__":
    main()
