"""Fetching flags: what clients do once a stream has told them of something new, over connections that are kept.

Apps have a connection each for it, and so have clients here as far as that goes (see `loadtest.swarm.descriptors`);
beyond that they share. A fetch is counted from the moment that its client wanted it, so waiting for a connection is in
its time, and counted by itself.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from loadtest.swarm.crew import Place, Run
from loadtest.swarm.fetch_connection import FetchConnection, Job
from loadtest.swarm.fetch_tls import TlsFetchConnection
from loadtest.swarm.sources import GENERATOR_ERRORS

if TYPE_CHECKING:
    from loadtest.swarm.holder import Holder

__all__ = ["Fetcher"]

NO_ROOM_WAIT: Final = 0.25


class Fetcher:
    """Fetches for the clients of one target, over at most `connections`; an answer takes `timeout` seconds at most."""

    def __init__(self, run: Run, place: Place, connections: int, timeout: float) -> None:
        self.run = run
        self.place = place
        self.timeout = timeout
        self._most = connections
        self._open = 0
        self._idle: dict[FetchConnection, None] = {}
        self._jobs: deque[Job] = deque()
        self._handing = self._waiting = False

    def ask(self, client: Holder, version: int, now: float) -> None:
        """Fetch for `client`, which is told by its `fetched`."""
        begun = self.run.meter.begin()
        self._jobs.append((client, version, now))
        self._next()
        self.run.meter.end_fetching(begun)

    def _next(self) -> None:
        if self._handing:  # a job that fails as it is handed out would lead here again, once for each that waits
            return
        self._handing = True
        try:
            while self._jobs:
                if self._idle:
                    connection, _ = self._idle.popitem()
                    connection.ask(self._jobs.popleft())
                elif self._waiting or self._open >= self._most or not self._connect():
                    return
        finally:
            self._handing = False

    def _connect(self) -> bool:
        try:
            connection = (FetchConnection if self.place.tls is None else TlsFetchConnection)(self)
        except OSError as error:
            words = GENERATOR_ERRORS.get(error.errno or 0)
            if words is None:
                self.failed(self._jobs.popleft(), (error.strerror or str(error)).lower(), monotonic())
                return True
            self.run.error(words)
            self._waiting = True
            self.run.loop.at(monotonic() + NO_ROOM_WAIT, self)
            return False
        self._open += 1
        connection.ask(self._jobs.popleft())
        return True

    def fire(self, kind: int, when: float, now: float) -> None:
        """Try again to get a connection."""
        del kind, when, now
        self._waiting = False
        self._next()

    def done(self, job: Job, version: int, now: float) -> None:
        """Take that a job is done."""
        client, _, asked = job
        client.fetched(version, asked, now)

    def failed(self, job: Job, words: str, now: float) -> None:
        """Take that a job has failed."""
        client, _, asked = job
        client.crew.tally.error(f"fetch: {words}")
        client.fetched(None, asked, now)

    def is_idle(self, connection: FetchConnection) -> None:
        """Take a connection back."""
        self._idle[connection] = None
        self._next()

    def is_gone(self, connection: FetchConnection) -> None:
        """Take that a connection is closed."""
        self._open -= 1
        self._idle.pop(connection, None)
        self._next()
