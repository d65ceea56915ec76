"""A world on a clock of its own: the client's state machine against a network that misbehaves by plan, then holds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Literal

from sdk_client.documents import Document
from sdk_client.subscription import Action, Close, Fetch, Keep, Open, Subscription
from tests.sdk_client.scripted import V1, event

LIFETIME = 30.0
HEAD = {"content-type": "text/event-stream", "x-stream-lifetime": "30", "x-stream-join-window": "20"}

StreamFault = Literal["refused", "mute", "status", "type", "cut", "ends", "silent", "replay", "good"]
DocumentFault = Literal["fails", "older", "stale", "unlabelled", "slow", "good"]


@dataclass(frozen=True)
class StreamPlan:
    fault: StreamFault
    lasts: float
    delay: float


@dataclass(frozen=True)
class DocumentPlan:
    fault: DocumentFault
    takes: float


class World:
    """`streams` and `documents` are used up in order while the network is bad; `holds_at` makes everything good."""

    def __init__(
        self, seed: int, streams: Iterable[StreamPlan], documents: Iterable[DocumentPlan], holds_at: float
    ) -> None:
        self.now = 0.0
        self.version = V1
        self.client = Subscription(random=Random(seed))
        self.opened_at: list[float] = []
        self.fetched_at: list[float] = []
        self.flights = 0
        self.at_once = 0
        """Streams that were asked for or open at the same time, at most."""
        self.behind = 0.0
        """The longest time in seconds from a change to flags that are as new, since `measure` was called."""
        self._changed_at: list[tuple[int, float]] = []
        self._streams = iter(streams)
        self._documents = iter(documents)
        self._holds_at = holds_at
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._there: set[int] = set()
        self._hearing: dict[int, float] = {}
        self._tick_at: float | None = None

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + seconds, self._number, action))

    def change(self) -> None:
        """The environment changes; the open streams, if they work, tell of it."""
        self.version += 250_000
        self._changed_at.append((self.version, self.now))
        for stream, delay in self._hearing.items():
            self._tell_later(stream, delay, event(self.version))

    def wake(self) -> None:
        """The machine slept, or its network changed."""
        self._do(self.client.woke(self.now))

    def measure(self) -> None:
        """Forget how long the client was behind so far."""
        self.behind = 0.0

    def start(self) -> None:
        self._do(self.client.start(self.now))
        self._do(self.client.follow(self.now))

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = until

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Open(stream):
                    self._open(stream)
                case Close(stream):
                    self._there.discard(stream)
                    self._hearing.pop(stream, None)
                case Fetch(version):
                    self._fetch(version)
                case Keep():
                    held = self.client.refetch.held
                    reached = [at for version, at in self._changed_at if version <= held]
                    self.behind = max([self.behind, *(self.now - at for at in reached)])
                    self._changed_at = [each for each in self._changed_at if each[0] > held]
        deadline = self.client.deadline
        if self._tick_at is None or deadline < self._tick_at:
            self._tick_at = deadline
            self.after(max(0.0, deadline - self.now), lambda: self._tick(deadline))

    def _tick(self, at: float) -> None:
        if at == self._tick_at:
            self._tick_at = None
            deadline = self.client.deadline
            self._do(self.client.tick(max(self.now, deadline)) if deadline <= self.now + 1e-9 else [])

    def _open(self, stream: int) -> None:
        self.opened_at.append(self.now)
        self._there.add(stream)
        self.at_once = max(self.at_once, len(self._there))
        plan = next(self._streams, None) if self.now < self._holds_at else None
        plan = plan or StreamPlan("good", LIFETIME, 0.001)
        self.after(plan.delay, lambda: self._answer(stream, plan))

    def _answer(self, stream: int, plan: StreamPlan) -> None:
        if stream not in self._there:
            return
        client = self.client
        match plan.fault:
            case "mute":
                return
            case "refused":
                self._there.discard(stream)
                self._do(client.failed(stream, "refused", self.now))
                return
            case "status":
                self._do(client.opened(stream, 503, {}, self.now))
                return
            case "type":
                self._do(client.opened(stream, 200, {"content-type": "text/html"}, self.now))
                return
            case _:
                self._do(client.opened(stream, 200, HEAD, self.now))
        if plan.fault == "silent":
            return
        self._hearing[stream] = plan.delay
        versions = range(V1, self.version + 1, 250_000)
        replay = [*versions, V1, versions[0]] if plan.fault == "replay" else [self.version]
        self._tell_later(stream, 0.0, b"".join(map(event, replay)))
        self.after(plan.lasts, lambda: self._end(stream, clean=plan.fault != "cut"))

    def _tell_later(self, stream: int, delay: float, data: bytes) -> None:
        def tell() -> None:
            if stream in self._hearing:
                self._do(self.client.received(stream, data, self.now))

        self.after(delay, tell)

    def _end(self, stream: int, *, clean: bool) -> None:
        if self._hearing.pop(stream, None) is not None:
            self._there.discard(stream)
            now = self.now
            self._do(self.client.ended(stream, now) if clean else self.client.failed(stream, "cut", now))

    def _fetch(self, asked: int) -> None:
        self.flights += 1
        assert self.flights == 1, "one flight at a time"
        self.fetched_at.append(self.now)
        plan = next(self._documents, None) if self.now < self._holds_at else None
        plan = plan or DocumentPlan("good", 0.002)
        version = self.version
        self.after(plan.takes, lambda: self._land(plan, asked, version))

    def _land(self, plan: DocumentPlan, asked: int, version: int) -> None:
        self.flights -= 1
        held = self.client.refetch.held
        match plan.fault:
            case "fails":
                self._do(self.client.fetch_failed(self.now))
            case "older" | "stale":
                self._do(self.client.fetched(_document(V1, stale=plan.fault == "stale"), self.now))
            case "unlabelled":
                self._do(self.client.fetched(Document(MappingProxyType({})), self.now))
            case _:
                assert version >= asked
                self._do(self.client.fetched(_document(version), self.now))
        assert self.client.refetch.held >= held, "versions never go back"


def _document(version: int, *, stale: bool = False) -> Document:
    return Document(MappingProxyType({}), version, labelled=True, stale=stale)
