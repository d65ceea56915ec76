"""One environment, followed: the state machine that a shell drives, without I/O.

It joins the connection, which keeps a stream live, the refetch, which keeps the flags at the newest version that the
streams have told of, and the polling that stands in for streams. Whatever happens is told to it with the time, and it
answers with actions; `deadline` is the next moment at which `tick` must be called. docs/client-rules.md has the rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from sdk_client.connection import Action as StreamAction
from sdk_client.connection import Close, Connection, Ended, Live, Open, Received
from sdk_client.decoder import Event
from sdk_client.polling import Polling
from sdk_client.reconnect import Backoff
from sdk_client.refetch import Answer, Refetch
from sdk_client.status import Status
from sdk_client.versions import event_version

__all__ = ["Action", "Became", "Close", "Ended", "Fetch", "Keep", "Live", "Open", "Subscription"]

EVENT: Final = "environment_updated"

GRACE: Final = 5.0
"""Seconds for which flags may be behind, or without a stream, before that is called a status of its own."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the flags at `version` or newer (0: whatever there is)."""

    version: int


@dataclass(frozen=True, slots=True)
class Keep:
    """The document that came last is the one to have; it ends `behind` seconds of having been behind."""

    behind: float


@dataclass(frozen=True, slots=True)
class Became:
    """The status is another."""

    status: Status


Action = Open | Close | Live | Ended | Fetch | Keep | Became


class Subscription:
    """Keeps the flags of one environment at its newest version; all times are in seconds.

    `start` begins the fetching and `follow` the streams, which may have to wait until their address is known.
    `poll_interval` is infinite for no polling; `polls` tells that there are to be polls and no streams.
    """

    def __init__(
        self,
        *,
        random: Random,
        heartbeat: float = 15.0,
        open_timeout: float = 10.0,
        spread: float = 0.0,
        poll_interval: float = 60.0,
        polls: bool = False,
        backoff: Backoff | None = None,
        now: float = 0.0,
    ) -> None:
        self.connection = Connection(random=random, heartbeat=heartbeat, open_timeout=open_timeout, backoff=backoff)
        self.refetch = Refetch(random=random, spread=spread, backoff=backoff, now=now)
        self.polling = Polling(random, interval=poll_interval)
        self._polls = polls
        self._polled = False
        self._grace = GRACE + spread
        self._in_doubt_since: float | None = now
        self._behind_since: float | None = None
        self.status = Status.STARTING
        self.invalid = 0

    @property
    def is_current(self) -> bool:
        """Tell whether a stream is live and the flags are as new as it has told of."""
        return self.connection.live and self.refetch.is_met

    @property
    def deadline(self) -> float:
        """The next moment at which `tick` has something to do; infinite where there is none."""
        return min(
            self.connection.deadline,
            self.polling.due,
            math.inf if self.refetch.due is None else self.refetch.due,
            self._doubtful_at,
        )

    def start(self, now: float) -> list[Action]:
        """Begin with the first fetch."""
        if self._polls:
            self.polling.start(now)
        return self._then([], now)

    def follow(self, now: float) -> list[Action]:
        """Begin with the streams."""
        return self._then(self.connection.start(now), now)

    def not_found(self, failures: int, now: float) -> list[Action]:
        """Take that the streams' address could not be found, for the `failures`-th time in a row."""
        self.polling.failed(failures, now)
        return self._then([], now)

    def opened(self, stream: int, status: int, headers: Mapping[str, str], now: float) -> list[Action]:
        """Take the head of a response; `headers` is looked up by lower-case names."""
        return self._then(self.connection.opened(stream, status, headers, now), now)

    def received(self, stream: int, data: bytes, now: float) -> list[Action]:
        """Take bytes of a body."""
        return self._then(self.connection.received(stream, data, now), now)

    def ended(self, stream: int, now: float) -> list[Action]:
        """Take the clean end of a body."""
        return self._then(self.connection.ended(stream, now), now)

    def failed(self, stream: int, reason: str, now: float) -> list[Action]:
        """Take a connection that was refused, reset, cut or broke the protocol."""
        return self._then(self.connection.failed(stream, reason, now), now)

    def fetched(self, answer: Answer, now: float) -> list[Action]:
        """Take what the fetch brought."""
        behind = 0.0 if self._behind_since is None else now - self._behind_since
        self._polled = self.polling.on
        keep: list[Action] = [Keep(behind)] if self.refetch.finished(answer, now) else []
        return keep + self._then([], now)

    def fetch_failed(self, now: float, retry_after: float = 0.0) -> list[Action]:
        """Take that the fetch brought nothing; `retry_after` is the server's wish."""
        self._polled = False
        self.refetch.failed(now, retry_after)
        return self._then([], now)

    def woke(self, now: float) -> list[Action]:
        """Take that the machine slept or its network changed."""
        self.polling.hasten(now)
        return self._then(self.connection.woke(now), now)

    def tick(self, now: float) -> list[Action]:
        """Take the time; does nothing before `deadline`."""
        if now >= self.polling.due:
            self.polling.polled(now)
            self.refetch.poll(now)
        return self._then(self.connection.tick(now), now)

    def _then(self, stream_actions: Iterable[StreamAction], now: float) -> list[Action]:
        """Carry on what the connection answered, and look what follows from it."""
        actions: list[Action] = []
        for action in stream_actions:
            match action:
                case Received(item=Event(type=name, data=data)):
                    if name == EVENT:
                        self._announced(data, now)
                    continue
                case Received():
                    continue
                case Live():
                    self.polling.stop()
                    self._polled = False
                    self.refetch.connected(now)
                case Ended(failures=failures) if not self.connection.live:
                    self.polling.failed(failures, now)
            actions.append(action)
        if self.refetch.due is not None and now >= self.refetch.due:
            actions.append(Fetch(self.refetch.begin(now)))
        return actions + self._look(now)

    def _announced(self, data: str, now: float) -> None:
        try:
            self.refetch.announce(event_version(data), now)
        except ValueError:  # one bad event must not end a stream that goes on well
            self.invalid += 1

    def _look(self, now: float) -> list[Action]:
        """Work out how fresh the flags are, and say so where that is another status."""
        if self.refetch.is_met:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now
        if self.is_current:
            self._in_doubt_since = None
        elif self._in_doubt_since is None or self.status is Status.STARTING:
            self._in_doubt_since = now
        status = self._status(now)
        if status is self.status:
            return []
        self.status = status
        return [Became(status)]

    def _status(self, now: float) -> Status:
        if not self.refetch.loaded:
            return Status.STARTING
        if self._in_doubt_since is None:
            return Status.CURRENT
        if self._polls or now >= self._in_doubt_since + self._grace:
            return Status.POLLING if self._polled and self.refetch.is_met else Status.STALE
        return Status.CURRENT if self.status is Status.STARTING else self.status

    @property
    def _doubtful_at(self) -> float:
        """When a short gap becomes a status; infinite where there is none, or where it is one already."""
        if self._in_doubt_since is None or self._polls or self.status is not Status.CURRENT:
            return math.inf
        return self._in_doubt_since + self._grace
