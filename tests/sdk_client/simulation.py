"""A world on a clock of its own: the two state machines against a network that misbehaves by plan, then holds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Literal

from sdk_client.connection import Connection, Deliver, Intention, Live, Open, Wait
from sdk_client.documents import Document
from sdk_client.errors import DocumentError
from sdk_client.refetch import Refetch
from tests.sdk_client.scripted import V1, event

HEAD = {"content-type": "text/event-stream", "x-stream-lifetime": "30"}

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
        random = Random(seed)
        self.now = 0.0
        self.version = V1
        self.connection = Connection(random=random)
        self.refetch = Refetch(random=random)
        self.opened_at: list[float] = []
        self.fetched_at: list[float] = []
        self.flights = 0
        self._streams = iter(streams)
        self._documents = iter(documents)
        self._holds_at = holds_at
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._stream = 0
        self._delay = 0.0
        self._hearing = False

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + seconds, self._number, action))

    def change(self) -> None:
        """The environment changes; the open stream, if it works, tells of it."""
        self.version += 250_000
        version, stream = self.version, self._stream
        if self._hearing:
            self.after(self._delay, lambda: self._receive(stream, event(version)))

    def start(self) -> None:
        self._carry_out(self.connection.start(self.now))
        self._look()

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            self._look()
        self.now = until

    def _look(self) -> None:
        """Let time reach both machines when they asked for it."""
        refetch = self.refetch
        if refetch.due is not None:
            if refetch.due <= self.now:
                self._fetch()
            else:
                self.after(refetch.due - self.now, lambda: None)

    def _carry_out(self, intentions: Iterable[Intention]) -> None:
        for intention in intentions:
            match intention:
                case Open():
                    self._open()
                case Live():
                    self.refetch.connected(self.now)
                case Deliver(version):
                    self.refetch.announce(version, self.now)
                case Wait():
                    self._stream += 1
                    self._hearing = False
        deadline = self.connection.deadline
        self.after(max(0.0, deadline - self.now), lambda: self._tick(deadline))

    def _tick(self, deadline: float) -> None:
        if deadline == self.connection.deadline:
            intentions = self.connection.tick(max(self.now, deadline))
            if intentions:
                self._carry_out(intentions)

    def _open(self) -> None:
        self.opened_at.append(self.now)
        plan = next(self._streams, None) if self.now < self._holds_at else None
        plan = plan or StreamPlan("good", 30.0, 0.001)
        stream = self._stream
        self.after(plan.delay, lambda: self._answer(stream, plan))

    def _answer(self, stream: int, plan: StreamPlan) -> None:
        if stream != self._stream:
            return
        connection = self.connection
        match plan.fault:
            case "mute":
                return
            case "refused":
                self._carry_out(connection.failed("refused", self.now))
                return
            case "status":
                self._carry_out(connection.opened(503, {}, self.now))
                return
            case "type":
                self._carry_out(connection.opened(200, {"content-type": "text/html"}, self.now))
                return
            case _:
                self._carry_out(connection.opened(200, HEAD, self.now))
        if plan.fault == "silent":
            return
        self._hearing = True
        self._delay = plan.delay
        versions = range(V1, self.version + 1, 250_000)
        replay = [*versions, V1, versions[0]] if plan.fault == "replay" else [self.version]
        self._receive(stream, b"".join(map(event, replay)))
        end = connection.failed if plan.fault == "cut" else lambda _, now: connection.ended(now)
        self.after(plan.lasts, lambda: self._end(stream, end))

    def _receive(self, stream: int, data: bytes) -> None:
        if stream == self._stream:
            self._carry_out(self.connection.received(data, self.now))

    def _end(self, stream: int, end: Callable[[str, float], list[Intention]]) -> None:
        if stream == self._stream:
            self._carry_out(end("cut", self.now))

    def _fetch(self) -> None:
        self.flights += 1
        assert self.flights == 1, "one flight at a time"
        asked = self.refetch.begin(self.now)
        self.fetched_at.append(self.now)
        plan = next(self._documents, None) if self.now < self._holds_at else None
        plan = plan or DocumentPlan("good", 0.002)
        version = self.version
        self.after(plan.takes, lambda: self._land(plan, asked, version))

    def _land(self, plan: DocumentPlan, asked: int, version: int) -> None:
        self.flights -= 1
        document: Document | DocumentError
        match plan.fault:
            case "fails":
                document = DocumentError("no")
            case "older" | "stale":
                document = _document(V1, stale=plan.fault == "stale")
            case "unlabelled":
                document = Document(MappingProxyType({}))
            case _:
                assert version >= asked
                document = _document(version)
        if isinstance(document, DocumentError):
            self.refetch.failed(self.now)
        else:
            before = self.refetch.held
            self.refetch.finished(document, self.now)
            assert self.refetch.held >= before, "versions never go back"


def _document(version: int, *, stale: bool = False) -> Document:
    return Document(MappingProxyType({}), version, labelled=True, stale=stale)
