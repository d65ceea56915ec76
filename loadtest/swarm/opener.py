"""Opening streams, losing them, and opening the next ones, as a client's model has it."""

from __future__ import annotations

import math
from time import monotonic, time
from typing import Final

from loadtest.histogram import Histogram
from loadtest.models import Loss
from loadtest.replacing import replace_after
from loadtest.swarm.crew import Crew
from loadtest.swarm.head import Head
from loadtest.swarm.holder import FETCH, HURT, Holder
from loadtest.swarm.ledger import Cell
from loadtest.swarm.sources import GENERATOR_ERRORS
from loadtest.swarm.stream import Stream
from loadtest.swarm.tls import TlsStream
from sdk_client.headers import remaining_join_window, remaining_lifetime, retry_after

__all__ = ["OPEN", "Opener"]

OPEN: Final = FETCH + 1
"""What a timer is for."""

NO_ROOM_WAIT: Final = 1.0
"""Seconds until a client tries again that this machine had no descriptor or port for."""


class Opener(Holder):
    """The part of a client that has streams: one that is live, one on its way, and a connection kept for the next."""

    __slots__ = (
        *("_due", "_failures", "_mark", "_opening", "_since"),
        *("kept", "live", "retry", "retry_after"),
    )

    def __init__(self, crew: Crew, cell: Cell) -> None:
        super().__init__(crew, cell)
        self.live: Stream | None = None
        self.kept: Stream | None = None
        """A connection without a stream, for the next request."""
        self._opening: Stream | None = None
        self._forget_streams()

    def _forget_streams(self) -> None:
        self.retry = self.crew.model.default_retry
        self.retry_after = 0.0
        self._due = math.inf
        self._failures = 0
        self._mark = 0
        self._since = 0.0

    def _open_at(self, when: float) -> None:
        self._due = when
        self.crew.loop.at(when, self, OPEN)

    def _open(self, now: float) -> None:
        meter = self.crew.meter
        begun = meter.begin()
        self._ask_for_stream(now)
        meter.end_opening(begun)

    def _ask_for_stream(self, now: float) -> None:
        tally = self.crew.tally
        tally.requests += 1
        tally.connecting += 1
        if self.live is None:
            tally.waiting -= 1
        kept, self.kept = self.kept, None
        if kept is not None:
            self._opening = kept
            if kept.ask(now):
                return
            kept.close()
        self._connect(now)

    def reopen(self, stream: Stream) -> None:
        """Ask on a new connection, for the kept one was closed in the same moment."""
        if self._opening is stream:
            self._connect(monotonic())

    def _connect(self, now: float) -> None:
        crew = self.crew
        stream = self._opening = (Stream if crew.target.tls is None else TlsStream)(self)
        try:
            stream.connect(now)
        except OSError as error:
            words = GENERATOR_ERRORS.get(error.errno or 0)
            if words is None:
                self.lost(stream, Loss.REFUSED, (error.strerror or str(error)).lower())
                return
            # No fault of the server's: neither counted against it nor answered as the model would.
            crew.run.error(words)
            self._opening = None
            crew.tally.connecting -= 1
            if self.live is None:
                crew.tally.waiting += 1
            self._open_at(now + NO_ROOM_WAIT)

    def went_live(self, stream: Stream, head: Head, asked: float, now: float) -> None:
        """Take that `stream`, which was asked for at `asked`, has been answered."""
        crew, tally = self.crew, self.crew.tally
        self._opening = None
        tally.connecting -= 1
        tally.opened += 1
        tally.opening.record(now - asked)
        before, self.live = self.live, stream
        if before is None:
            tally.open += 1
        else:
            tally.replaced += 1
            before.close()
        if self._since:
            waited = now - self._since
            if self._flags & HURT:
                tally.readmission.setdefault(self._mark, Histogram()).record(waited)
            else:
                tally.gap.record(waited)
            self._since = 0.0
        self._heal()
        if crew.model.replaces:
            self._replace(stream, head, now)

    def _heal(self) -> None:
        if self._flags & HURT:
            self._flags &= ~HURT
            self.crew.tally.hurt[self._mark] -= 1

    def _replace(self, stream: Stream, head: Head, now: float) -> None:
        told = head.texts("x-stream-lifetime", "x-stream-join-window", "age")
        left = remaining_lifetime(told)
        if left is None:
            return
        stream.given_up = now + left + self.crew.model.overdue
        after = replace_after(left, remaining_join_window(told) or 0.0, self.crew.chance)
        if after is not None:
            self._open_at(now + after)

    def refused(self, head: Head) -> None:
        """Take that the answer is no stream, before it is lost; when it says for how long to stay away, that counts."""
        self.retry_after = retry_after(head.texts("retry-after"))

    def lost(self, stream: Stream, loss: Loss, words: str, *, kept: bool = False) -> None:
        """Take that `stream` is over, or never was one; `kept`: its connection still is."""
        crew, tally, now = self.crew, self.crew.tally, monotonic()
        if kept:
            if self.kept is not None:  # of the stream before, which ended while this one was asked for
                self.kept.close()
            self.kept = stream
        lived = -1.0
        if stream is self.live:
            self.live = None
            lived = now - stream.moment
            tally.open -= 1
            self._since = now
            if loss is not Loss.CLEAN:
                mark = crew.run.mark
                tally.broken[mark] = tally.broken.get(mark, 0) + 1
        else:
            self._opening = None
            tally.connecting -= 1
        tally.lost[loss] = tally.lost.get(loss, 0) + 1
        if words:
            tally.error(words)
        model = crew.model
        counted = model.counts_as(loss, lived)
        if counted is not loss:
            loss = counted
            tally.error("a stream that was over at once")
        if loss is not Loss.CLEAN and self._since and not self._flags & HURT:
            self._flags |= HURT
            self._mark = crew.run.mark
            tally.hurt[self._mark] = tally.hurt.get(self._mark, 0) + 1
        self._failures = model.failures(self._failures, loss, lived)
        if self.live is None and self._opening is None:
            tally.waiting += 1
        self._plan(loss, now)

    def _plan(self, loss: Loss, now: float) -> None:
        """Open the next stream when the model would, unless one is on its way."""
        if self._opening is not None:
            return
        crew = self.crew
        model = crew.model
        wait = model.wait(loss)
        if wait is None:
            if self.live is None:
                self._give_up()
            return
        retry = max(min(self.retry, model.longest_retry), min(self.retry_after, model.longest_retry_after))
        self.retry_after = 0.0
        self._open_at(now + wait.seconds(self._failures, retry, crew.chance, time()))

    def _give_up(self) -> None:
        """Take that the model never comes back."""
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        """Take that time has passed: give up what the model would not wait for any longer."""
        model = self.crew.model
        opening, live = self._opening, self.live
        if opening is not None:
            waited = now - opening.moment
            if waited > model.open_timeout or (opening.is_connecting and waited > model.connect_timeout):
                words = "no connection in time" if opening.is_connecting else "no answer in time"
                opening.close()
                self.lost(opening, Loss.REFUSED, words)
        if live is not None and (now - live.heard > model.silence or now > live.given_up):
            live.close()
            self.lost(live, Loss.SILENT, "silent")

    def cut(self) -> None:
        """Break whatever connection there is."""
        live, opening, kept = self.live, self._opening, self.kept
        if kept is not None:
            kept.close(reset=True)
            self.kept = None
        if live is not None:
            live.close(reset=True)
            self.lost(live, Loss.CUT, "cut by the network")
        if opening is not None:
            opening.close(reset=True)
            self.lost(opening, Loss.REFUSED, "cut by the network")

    def close(self) -> None:
        """Close every connection."""
        for stream in (self.live, self._opening, self.kept):
            if stream is not None:
                stream.close()
        self.live = self._opening = self.kept = None
