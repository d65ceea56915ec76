"""The asyncio shell: httpx opens, reads and leaves the streams that a state machine asks for, and one timer drives it.

The machine is a `Subscription`, or a bare `Connection`; whatever it asks for beyond streams is its owner's to do.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

import httpx

from sdk_client.connection import Close, Open
from sdk_client.loading import reason_of

__all__ = ["Driver", "Machine"]

# No Cache-Control: at some edges it is a way round the cache, and every client would be a stream of its own.
_HEADERS: Final = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}

# No read timeout: the machine's deadline is the watchdog, and knows more than a fixed time between bytes. Connecting
# has one below that deadline, because httpcore leaks the socket of a TLS handshake that is cancelled.
_TIMEOUT: Final = httpx.Timeout(None, connect=5.0)

_SENDABLE_ID: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,510}[^\x00-\x20\x7f])?")

CLOCK_TICK: Final = 0.001
"""Seconds by which a timer may fire early; without it the machine would answer "not yet", again and again."""

Action = TypeVar("Action")


class Machine(Protocol[Action]):
    """What is driven: `Subscription` and `Connection` are such machines."""

    @property
    def deadline(self) -> float:
        """When to call `tick` next, infinite for never."""

    def opened(self, stream: int, status: int, headers: Mapping[str, str], now: float) -> list[Action]:
        """Take the head of a response."""

    def received(self, stream: int, data: bytes, now: float) -> list[Action]:
        """Take bytes of a body."""

    def ended(self, stream: int, now: float) -> list[Action]:
        """Take the clean end of a body."""

    def failed(self, stream: int, reason: str, now: float) -> list[Action]:
        """Take a connection that failed."""

    def tick(self, now: float) -> list[Action]:
        """Take the time."""


class Driver(Generic[Action]):
    """Drives `machine`; `on_action` gets what is not about opening and closing streams, in order.

    Streams are read by tasks of `tasks`, and end with it. `url` may be set later, before the first stream is asked for.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        machine: Machine[Action],
        on_action: Callable[[Action], None],
        tasks: asyncio.TaskGroup,
        *,
        url: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self._http = http
        self._headers = {**_HEADERS, **(headers or {})}
        self._machine = machine
        self._on_action = on_action
        self._tasks = tasks
        self._clock = asyncio.get_running_loop().time
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._streams: dict[int, asyncio.Task[None]] = {}
        self.connections: dict[int, Any] = {}
        """Network streams (httpcore's) of the streams, by number: they know both ends' addresses."""

    async def run(self) -> NoReturn:
        """Tell the machine the time whenever it is due, for ever; ends by cancellation."""
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                if (deadline := self._machine.deadline) <= self._clock() + CLOCK_TICK:
                    self.do(self._machine.tick(max(self._clock(), deadline)))
                self._arm()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def do(self, actions: Iterable[Action]) -> None:
        """Carry out what the machine answered to anything, in order."""
        for action in actions:
            match action:
                case Open(stream, last_event_id):
                    self._streams[stream] = self._tasks.create_task(self._stream(stream, last_event_id))
                case Close(stream):
                    self._leave(stream)
                case _:
                    self._on_action(action)
        self._arm()

    def _arm(self) -> None:
        """Set the timer, unless the one there is fires early enough: then it is set anew when it does."""
        deadline = self._machine.deadline
        if self._timer is not None and self._timer.when() <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline < math.inf:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._due.set()

    def _leave(self, stream: int) -> None:
        task = self._streams.get(stream)
        if (
            task is not None and task is not asyncio.current_task()
        ):  # within its own task the stream's end is the way out
            task.cancel()

    async def _stream(self, stream: int, last_event_id: str) -> None:
        sendable = _SENDABLE_ID.fullmatch(last_event_id) is not None
        sent = {"Last-Event-ID": last_event_id} if sendable else {}
        headers = httpx.Headers(self._headers | sent, encoding="utf-8")  # httpx takes no text but ASCII by itself
        try:
            async with aclosing(self._answer(headers)) as answer:
                async for part in answer:
                    if isinstance(part, bytes):
                        actions = self._machine.received(stream, part, self._clock())
                    else:
                        self.connections[stream] = part.extensions.get("network_stream")
                        actions = self._machine.opened(stream, part.status_code, part.headers, self._clock())
                    self.do(actions)
                    if Close(stream) in actions:
                        return
            self.do(self._machine.ended(stream, self._clock()))
        except _BrokenError as error:
            self.do(self._machine.failed(stream, str(error), self._clock()))
        finally:
            self.connections.pop(stream, None)
            self._streams.pop(stream, None)

    async def _answer(self, headers: httpx.Headers) -> AsyncGenerator[httpx.Response | bytes, None]:
        """Yield the head of the answer, then its body piece by piece; raises _BrokenError and nothing else."""
        try:
            async with self._http.stream(
                "GET", self.url, headers=headers, timeout=_TIMEOUT, follow_redirects=True
            ) as response:
                yield response
                async for data in response.aiter_bytes():
                    yield data
        except Exception as error:
            # Not httpx's errors alone: a redirect to port 99999, or to a host that is no IDNA, brings others, and so do
            # transports and hooks of the user's own. Any of them would end the client for good.
            raise _BrokenError(reason_of(error)) from error


class _BrokenError(Exception):
    """There was no answer, or it broke off."""
