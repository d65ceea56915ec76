"""The connection to an event stream as a state machine without I/O: one stream is kept live for ever.

A shell (`sdk_client.streaming`, and tests by script) tells it what happened and when; it answers with what to do.
Streams are known by number. Usually there is one; towards its end the next one is opened beside it, and the old one is
left once the next one is live, so that nothing is missed in between:

    start ──Open 1──▶ opening ──opened──▶ live ─────────────── Open 2 ──opened──▶ Live 2, Close 1
                         ▲                  │
                         └── wait ◀── ended, failed, silent

`deadline` is always the next moment at which the shell has to call `tick`. Times are seconds on any clock that does not
go back. The rules are numbered as in docs/client-rules.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from sdk_client.decoder import Decoder, Item, Retry
from sdk_client.errors import StreamLimitError
from sdk_client.reconnect import Backoff, End, EndKind, Reconnect
from sdk_client.stream import Stream, refusal

__all__ = ["Action", "Close", "Connection", "Ended", "Live", "Open", "Received"]

WAKE_INTERVAL: Final = 10.0
"""Seconds: a network that comes and goes wakes a client no more often, and a stream it slept over is left by then."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request: always the same URL, for a query would be another key in every cache on the way."""

    stream: int
    last_event_id: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """The stream is live, `seconds` after it was asked for; what follows at once is a replay."""

    stream: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """The stream said something."""

    stream: int
    item: Item


@dataclass(frozen=True, slots=True)
class Close:
    """Leave the response as it is; nothing more of it is wanted."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over. The next one is opened in `wait` seconds, None where there is or will be one already.

    `failures` counts the errors in a row, 0 after an end that is none.
    """

    stream: int
    end: End
    wait: float | None
    failures: int


Action = Open | Live | Received | Close | Ended


@dataclass(frozen=True, slots=True)
class _Opening:
    number: int
    since: float
    deadline: float


class Connection:
    """Keeps one stream live for ever; `heartbeat` and `open_timeout` are in seconds."""

    def __init__(
        self,
        *,
        random: Random,
        heartbeat: float = 15.0,
        open_timeout: float = 10.0,
        backoff: Backoff | None = None,
        decoder: Callable[..., Decoder] = Decoder,
        last_event_id: str = "",
    ) -> None:
        self._random = random
        self._heartbeat = heartbeat
        self._open_timeout = open_timeout
        self._decoder = decoder
        self._reconnect = Reconnect(random, backoff=backoff)
        self._number = 0
        self._live: Stream | None = None
        self._opening: _Opening | None = None
        self._open_at: float | None = None
        self._opened_at = -math.inf
        self._not_before = -math.inf
        self._woken = -math.inf
        self._last_event_id = last_event_id

    @property
    def live(self) -> bool:
        """Tell whether a stream is live now."""
        return self._live is not None

    @property
    def failures(self) -> int:
        """Errors in a row."""
        return self._reconnect.failures

    @property
    def deadline(self) -> float:
        """The next moment at which `tick` has something to do; infinite before the start."""
        return min(
            math.inf if self._live is None else self._live.deadline,
            math.inf if self._opening is None else self._opening.deadline,
            math.inf if self._open_at is None else self._open_at,
        )

    def start(self, now: float) -> list[Action]:
        """Begin: the first stream is opened at once."""
        return self._open(now)

    def opened(self, stream: int, status: int, headers: Mapping[str, str], now: float) -> list[Action]:
        """Take the head of a response; `headers` is looked up by lower-case names."""
        opening = self._opening
        if opening is None or opening.number != stream:
            return [Close(stream)]
        self._opening = None
        end = refusal(status, headers)
        if end is not None:
            return [Close(stream), self._failed(stream, end, now)]
        before = self._live
        last_event_id = self._last_event_id if before is None else before.last_event_id
        decoder = self._decoder(last_event_id=last_event_id)
        self._live = Stream(stream, headers, now=now, heartbeat=self._heartbeat, decoder=decoder)
        self._open_at = self._live.replace_at(self._random)
        actions: list[Action] = [Live(stream, now - opening.since)]
        if before is not None:
            end = End(EndKind.REPLACED, "the next stream is live", before.lived(now))
            self._reconnect.worked()
            actions += [Close(before.number), Ended(before.number, end, None, 0)]
        return actions

    def received(self, stream: int, data: bytes, now: float) -> list[Action]:
        """Take bytes of the body."""
        live = self._live
        if live is None or live.number != stream:
            return []
        actions: list[Action] = []
        try:
            for item in live.receive(data, now):
                if isinstance(item, Retry):
                    self._reconnect.advise(item.milliseconds / 1000)
                actions.append(Received(stream, item))
        except StreamLimitError as error:
            end = End(EndKind.LIMIT, str(error), live.lived(now))
            return [*actions, Close(stream), self._over(live, end, now)]
        return actions

    def ended(self, stream: int, now: float) -> list[Action]:
        """Take the clean end of the body."""
        live = self._live
        if live is None or live.number != stream:
            return self.failed(stream, "the answer had no head", now)
        return [self._over(live, End.clean(live.lived(now)), now)]

    def failed(self, stream: int, reason: str, now: float) -> list[Action]:
        """Take a connection that was refused, reset, cut or broke the protocol."""
        if self._opening is not None and self._opening.number == stream:
            self._opening = None
            return [self._failed(stream, End(EndKind.UNREACHABLE, reason), now)]
        if self._live is not None and self._live.number == stream:
            return [self._over(self._live, End(EndKind.CUT, reason, self._live.lived(now)), now)]
        return []

    def tick(self, now: float) -> list[Action]:
        """Take the time; does nothing before `deadline`."""
        actions: list[Action] = []
        opening, live = self._opening, self._live
        if opening is not None and now >= opening.deadline:
            self._opening = None
            end = End(EndKind.UNANSWERED, "the server did not answer in time")
            actions += [Close(opening.number), self._failed(opening.number, end, now)]
        if live is not None and now >= live.deadline:
            end = End(EndKind.SILENT, "the stream fell silent", live.lived(now))
            actions += [Close(live.number), self._over(live, end, now)]
        if self._open_at is not None and now >= self._open_at:
            actions += self._open(now)
        return actions

    def woke(self, now: float) -> list[Action]:
        """Take that the machine slept or its network changed: the stream there is may be dead without knowing."""
        if now < self._woken + WAKE_INTERVAL:
            return []
        self._woken = now
        self._reconnect.worked()  # what failed before is another matter
        if self._live is not None:
            self._live.leave_by(now + WAKE_INTERVAL)
        if self._open_at is not None or self._live is not None:
            soon = max(now + self._random.uniform(0.0, 1.0), self._opened_at + self._reconnect.least)
            self._open_at = soon if self._open_at is None else min(self._open_at, soon)
        return []

    def _open(self, now: float) -> list[Action]:
        self._open_at = None
        if self._opening is not None:
            return []
        self._number += 1
        self._opened_at = now
        self._not_before = now + self._reconnect.least
        self._opening = _Opening(self._number, now, now + self._open_timeout)
        return [Open(self._number, self._last_event_id if self._live is None else self._live.last_event_id)]

    def _failed(self, stream: int, end: End, now: float) -> Ended:
        """Plan the next try after one that never became a stream; a stream that is live goes on meanwhile."""
        wait = self._reconnect.after(end)
        self._not_before = self._open_at = now + wait
        return Ended(stream, end, wait, self._reconnect.failures)

    def _over(self, live: Stream, end: End, now: float) -> Ended:
        """Plan what follows the live stream, unless that is on its way already."""
        self._live = None
        self._last_event_id = live.last_event_id
        at = max(now + self._reconnect.after(end), self._not_before)
        if self._opening is not None:
            return Ended(live.number, end, None, self._reconnect.failures)
        self._not_before = self._open_at = at
        return Ended(live.number, end, at - now, self._reconnect.failures)
