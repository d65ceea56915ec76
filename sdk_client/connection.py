"""The connection to the stream as a state machine without I/O.

A shell (`sdk_client.streaming`, and tests by script) tells it what happened and when; it answers with what to do:

    start ──Open──▶ opening ──opened──▶ live ──ended, failed, silent──▶ waiting ──time──▶ opening …

`deadline` is always the next moment at which the shell has to call `tick`: the end of a wait, the last moment for the
headers to come, or the watchdog of a live stream. Times are seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from random import Random

from sdk_client.decoder import Retry
from sdk_client.errors import StreamLimitError
from sdk_client.reconnect import Backoff, End, Reconnect
from sdk_client.stream import Stream, refusal

__all__ = ["Close", "Connection", "Deliver", "Intention", "Live", "Open", "State", "Wait"]


class State(Enum):
    """Where the connection is."""

    IDLE = "idle"
    OPENING = "opening"
    LIVE = "live"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request: always the same URL, for a query would be another key in every cache on the way."""


@dataclass(frozen=True, slots=True)
class Live:
    """The stream is open; what follows at once is a replay."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """The environment has reached `version`."""

    version: int


@dataclass(frozen=True, slots=True)
class Close:
    """Leave the response as it is; nothing more of it is wanted."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait `seconds`, then call `tick`; `failures` counts the errors in a row, 0 after an end that is no error."""

    seconds: float
    end: End
    failures: int


Intention = Open | Live | Deliver | Close | Wait


class Connection:
    """Keeps one stream open for ever; `heartbeat` and `open_timeout` are in seconds."""

    def __init__(
        self,
        *,
        random: Random,
        heartbeat: float = 15.0,
        open_timeout: float = 10.0,
        backoff: Backoff | None = None,
    ) -> None:
        self.state = State.IDLE
        self.deadline = 0.0
        self._reconnect = Reconnect(random, backoff=backoff)
        self._heartbeat = heartbeat
        self._open_timeout = open_timeout
        self._stream: Stream | None = None

    def start(self, now: float) -> list[Intention]:
        """Begin: the first stream is opened at once."""
        return self._open(now)

    def opened(self, status: int, headers: Mapping[str, str], now: float) -> list[Intention]:
        """Take the head of a response; `headers` is looked up by lower-case names."""
        end = refusal(status, headers)
        if end is not None:
            return [Close(), *self._wait(end, now)]
        self._stream = Stream(headers, now=now, heartbeat=self._heartbeat)
        self.state = State.LIVE
        self.deadline = self._stream.deadline
        return [Live()]

    def received(self, data: bytes, now: float) -> list[Intention]:
        """Take bytes of the body."""
        stream = self._stream
        if stream is None:
            return []
        intentions: list[Intention] = []
        try:
            for item in stream.receive(data, now):
                if isinstance(item, Retry):
                    self._reconnect.advise(item.milliseconds / 1000)
                else:
                    intentions.append(Deliver(item))
        except StreamLimitError as error:
            return [*intentions, Close(), *self._wait(End(str(error), lived=stream.lived(now)), now)]
        self.deadline = stream.deadline
        return intentions

    def ended(self, now: float) -> list[Intention]:
        """Take the clean end of the body."""
        lived = self._lived(now)
        reason = "the stream ended" if lived >= 1 else f"the stream ended after {lived:.2f} s"
        return self._wait(End(reason, clean=True, lived=lived), now)

    def failed(self, reason: str, now: float) -> list[Intention]:
        """Take a connection that was refused, reset, cut or broke the protocol."""
        return self._wait(End(reason, lived=self._lived(now)), now)

    def tick(self, now: float) -> list[Intention]:
        """Take the time; does nothing before `deadline`."""
        if now < self.deadline:
            return []
        match self.state:
            case State.WAITING:
                return self._open(now)
            case State.OPENING:
                return [Close(), *self._wait(End("the server did not answer in time"), now)]
            case State.LIVE:
                return [Close(), *self._wait(End("the stream fell silent", lived=self._lived(now)), now)]
            case State.IDLE:
                return []

    def _lived(self, now: float) -> float:
        return 0.0 if self._stream is None else self._stream.lived(now)

    def _open(self, now: float) -> list[Intention]:
        self.state = State.OPENING
        self.deadline = now + self._open_timeout
        return [Open()]

    def _wait(self, end: End, now: float) -> list[Intention]:
        seconds = self._reconnect.after(end)
        self._stream = None
        self.state = State.WAITING
        self.deadline = now + seconds
        return [Wait(seconds, end, self._reconnect.failures)]
