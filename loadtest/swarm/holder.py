"""What a client holds: the versions that its streams told it of, and the flags that it fetched because of them."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final

from loadtest.models import Fetching, Loading, Wait
from loadtest.swarm.crew import Crew
from loadtest.swarm.ledger import Cell

if TYPE_CHECKING:
    from loadtest.swarm.stream import Stream

__all__ = ["DEAF", "FETCH", "GAVE_UP", "GONE", "HOME", "HURT", "LOADING", "Holder"]

FETCH: Final = 0
"""What a timer of its is for."""

DEAF, GONE, FETCHING, ASKED, AGAIN, LOADING, LACKING, HURT, HOME, GAVE_UP = (1 << bit for bit in range(10))
"""DEAF: takes no event any more. GONE: follows no more. FETCHING: a fetch is planned or, with ASKED, on its
way. AGAIN: something newer came while it was on its way.
LOADING: its first fetch is to come, before or beside its first stream.
LACKING: a fetch has failed, and the next event that repeats the version makes it fetch again.
HURT: what it lost last was not by a clean end. HOME: it is gone, and nobody takes its place.
GAVE_UP: it follows no more and opens nothing, but is still there until it leaves."""


class Holder:
    """The part of a client that no stream takes with it; what it does about streams is `Client`'s."""

    __slots__ = ("_fetch_began", "_fetch_failures", "_flags", "_wanted", "cell", "crew", "held")

    def __init__(self, crew: Crew, cell: Cell) -> None:
        self.crew = crew
        self.cell = cell
        self._forget()

    def _forget(self) -> None:
        """Be somebody else, who holds nothing yet."""
        self.held = 0
        self._flags = 0
        self._wanted = 0  # or had, where a fetch has brought something newer than was asked for
        self._fetch_began = 0.0  # or is to begin, where it is planned
        self._fetch_failures = 0

    def _open(self, now: float) -> None:
        """Open the first stream, or the next."""
        raise NotImplementedError

    def fire(self, kind: int, when: float, now: float) -> None:
        """Take that a moment has come."""
        raise NotImplementedError

    def _start(self, now: float) -> None:
        """Open the first stream; an app that starts loads its flags before that, or at the same time."""
        if self._flags & LOADING:
            before = self.crew.model.loads is Loading.BEFORE
            if not before:
                self._flags &= ~LOADING
            if not self._flags & FETCHING:
                self._fetch(now)
            if before:
                return
        self._open(now)

    def take(self, stream: Stream, version: int, now: float) -> None:
        """Take an event of `stream`."""
        crew = self.crew
        tally = crew.tally
        tally.events += 1
        if version <= stream.told:
            if version == stream.told:
                tally.duplicates += 1
            else:
                tally.out_of_order += 1
            return
        before, stream.told = stream.told, version
        if self._flags & DEAF:
            return
        held = self.held
        if version <= held:
            tally.replays += 1
            if crew.model.fetching is Fetching.EVERY or self._flags & LACKING:
                self._want(held, now)
            return
        ledger = self.cell.ledger
        if version > ledger.newest:
            ledger.learn(version)
        self.held = version
        self.cell.holds(version, held, crew.moment(now))
        if held:
            missed, skipped = ledger.missed(held, version)
            tally.staleness.record(now - (max(missed, ledger.began) / 1e6 + crew.epoch))
            tally.skipped += skipped
            tally.skipped_in_stream += skipped if held == before else 0
        published = version / 1e6 + crew.epoch
        if crew.signature < 0 or version % 1000 == crew.signature:
            if published >= stream.moment:
                tally.deliveries += 1
                tally.delivery.record(now - published)
            else:
                tally.catch_ups += 1
        fetching = crew.model.fetching
        if fetching is Fetching.EVERY or (fetching is Fetching.NEWER and version > self._wanted):
            self._want(version, now)

    def _want(self, version: int, now: float) -> None:
        crew = self.crew
        if not crew.group.fetches:
            return
        self._wanted = version
        if self._flags & FETCHING:
            if crew.model.drops_while_fetching:
                crew.tally.events_dropped += 1
            elif self._flags & ASKED:  # what is only planned asks for the newest
                self._flags |= AGAIN
            return
        self._fetch(now)

    def _fetch(self, now: float) -> None:
        self._flags |= FETCHING
        model = self.crew.model
        when = max(now + model.settle, self._fetch_began + model.fetches_apart)
        if when > now:
            self._ask_at(when)
        else:
            self._ask(now)

    def _ask_at(self, when: float) -> None:
        self._fetch_began = when
        self.crew.loop.at(when, self, FETCH)

    def _fetch_due(self, when: float, now: float) -> None:
        """Ask as planned, unless by one who has left, or whose place another has taken."""
        if when == self._fetch_began and self._flags & (FETCHING | ASKED | GONE) == FETCHING:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._flags |= ASKED
        self._fetch_began = now
        self.crew.fetcher.ask(self, self._wanted, now)

    def fetched(self, version: int | None, asked: float, now: float) -> None:
        """Take what came of the fetch wanted at `asked`: the version, 0 where unknown, None if it failed."""
        crew, tally = self.crew, self.crew.tally
        tally.fetches += 1
        if version is None:
            tally.fetches_failed += 1
        else:
            tally.fetch.record(now - asked)
        flags = self._flags
        if flags & GONE or not flags & ASKED or asked != self._fetch_began:
            return  # of one who has left, or whose place another has taken
        self._flags &= ~(FETCHING | ASKED | AGAIN | LOADING | LACKING)
        older = version is not None and 0 < version < self._wanted
        if older:
            tally.fetches_older += 1
        newest = version is not None and version > 0 and version >= self._wanted
        self._wanted = max(self._wanted, version or 0)
        if flags & LOADING and version is None and crew.model.reload is not None:
            self._flags |= LOADING
            self._ask_after(crew.model.reload, now)
        elif flags & LOADING:
            self._fetch_failures = 0
            self._open(now)
        elif version is None and crew.model.deaf_after_failed_fetch and not flags & DEAF:
            self._flags |= DEAF
            tally.deaf += 1
            self.cell.leaves(self.held, crew.moment(now))
        elif flags & AGAIN and not (newest and crew.model.fetching is Fetching.NEWER):
            self._fetch(now)
        elif older or version is None:
            self._fetch_again(now)
        else:
            self._fetch_failures = 0

    def _fetch_again(self, now: float) -> None:
        """Plan what the model does after a fetch that brought nothing, or something too old."""
        model = self.crew.model
        if model.refetch is not None:
            self._ask_after(model.refetch, now)
        elif not model.forgets_failed_fetch:
            self._flags |= LACKING

    def _ask_after(self, wait: Wait, now: float) -> None:
        self._fetch_failures += 1
        self._flags |= FETCHING
        self._ask_at(now + wait.seconds(self._fetch_failures, 0.0, self.crew.chance, time()))
