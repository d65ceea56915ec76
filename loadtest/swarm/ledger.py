"""Who has which version: how many clients are behind, for how long each was, and what was never theirs."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Any, Final

from loadtest.histogram import Histogram
from loadtest.messages import GroupSample

__all__ = ["Cell", "Ledger", "Tally"]

_HISTOGRAMS: Final = ("delivery", "opening", "gap", "staleness", "fetch")
_COUNTS: Final = (
    *("requests", "connections", "opened", "left", "replaced", "events", "heartbeats", "deliveries", "catch_ups"),
    *("replays", "duplicates", "out_of_order", "skipped", "invalid", "bytes"),
    *("fetches", "fetches_failed", "fetches_older"),
)


class Tally:
    """What one group counted since its last sample, and its levels as they are; the names are those of GroupSample."""

    __slots__ = (
        *_COUNTS,
        *_HISTOGRAMS,
        "broken",
        "clients",
        "connecting",
        "deaf",
        "errors",
        "gave_up",
        "hurt",
        "lost",
        "open",
        "readmission",
        "waiting",
    )

    def __init__(self) -> None:
        self.clients = self.open = self.connecting = self.waiting = self.gave_up = self.deaf = 0
        self.hurt: dict[int, int] = {}
        self._clear()

    def _clear(self) -> None:
        self.requests = self.connections = self.opened = self.left = self.replaced = 0
        self.events = self.heartbeats = self.deliveries = self.catch_ups = self.replays = 0
        self.duplicates = self.out_of_order = self.skipped = self.invalid = self.bytes = 0
        self.fetches = self.fetches_failed = self.fetches_older = 0
        self.lost: dict[int, int] = {}
        self.broken: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.delivery, self.opening, self.gap = Histogram(), Histogram(), Histogram()
        self.staleness, self.fetch = Histogram(), Histogram()
        self.readmission: dict[int, Histogram] = {}

    def error(self, words: str) -> None:
        """Count what went wrong, in a few words."""
        self.errors[words] = self.errors.get(words, 0) + 1

    def taken(self, behind: int, new: int = 0, behind_us: int = 0) -> GroupSample:
        """Return the sample, and begin to count anew."""
        counted: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        counted |= {name: getattr(self, name).pairs() for name in _HISTOGRAMS}
        sample = GroupSample(
            clients=self.clients,
            open=self.open,
            connecting=self.connecting,
            waiting=self.waiting,
            gave_up=self.gave_up,
            deaf=self.deaf,
            behind=behind,
            new=new,
            behind_us=behind_us,
            hurt={mark: count for mark, count in self.hurt.items() if count},
            lost=self.lost,
            broken=self.broken,
            errors=self.errors,
            readmission={mark: times.pairs() for mark, times in self.readmission.items()},
            **counted,
        )
        self._clear()
        return sample


class Ledger:
    """The versions of one environment that are known to be published, in order.

    A client counts as behind from the moment a version is known until it holds it, by whichever stream; how long it
    was is reckoned from the moment that the version names, but not from before `began` (microseconds since the epoch).
    """

    __slots__ = ("before", "began", "cells", "newest", "versions")

    def __init__(self, began: int = 0) -> None:
        self.began = began
        self.cells: list[Cell] = []
        self.versions: list[int] = []
        self.newest = 0
        self.before = 0
        """The one before the newest, which is what clients hold at most times."""

    def learn(self, version: int) -> None:
        """Take that a version is published, from the publisher's answer or from the first event of it."""
        if version > self.newest:
            for cell in self.cells:
                cell.overtaken(max(version, self.began))
            self.before, self.newest = self.newest, version
            self.versions.append(version)
            return
        place = bisect_right(self.versions, version)
        if not place or self.versions[place - 1] != version:  # answers may overtake each other
            insort(self.versions, version)
            self.before = self.versions[-2]

    def missed(self, held: int, version: int) -> tuple[int, int]:
        """Return the first version after `held`, and how many lie between it and `version`."""
        if held == self.before and version == self.newest:
            return version, 0
        first, last = bisect_right(self.versions, held), bisect_right(self.versions, version)
        # one that nobody has told of yet, overtaken by a newer one, is not among them
        return min(self.versions[first], version), max(0, last - first - 1)


class Cell:
    """The clients of one group in one environment: how many there are, and how many of them hold the newest.

    Moments are in microseconds since the epoch, as versions are.
    `stream` is their request for a stream; that for flags is the path `document` and the `headers` after it.
    """

    __slots__ = ("_current", "_fresh", "_newest", "_reckoned", "clients", "document", "headers", "ledger", "stream")

    def __init__(self, ledger: Ledger, *, stream: bytes = b"", document: bytes = b"", headers: bytes = b"") -> None:
        self.ledger = ledger
        self.stream = stream
        self.document = document
        self.headers = headers
        self.clients = 0
        self._fresh = 0
        self._current = 0
        self._newest = 0
        self._reckoned = 0
        """The moments at which one was behind no more, less those at which one came to be."""
        ledger.cells.append(self)

    @property
    def new(self) -> int:
        """How many hold no version yet although there is one."""
        return self._fresh if self.ledger.newest else 0

    @property
    def behind(self) -> int:
        """How many hold a version that is not the newest."""
        ledger = self.ledger
        if not ledger.newest:
            return 0
        return self.clients - self._fresh - (self._current if self._newest == ledger.newest else 0)

    def behind_for(self, now: int) -> int:
        """Return for how many microseconds clients were behind until `now`, all together."""
        return self.behind * now + self._reckoned

    def overtaken(self, moment: int) -> None:
        """Take that there is a newer version since `moment`, which is not yet the ledger's newest."""
        if self._newest == self.ledger.newest:
            self._reckoned -= self._current * moment

    def comes(self) -> None:
        """Take that there is one more, who holds nothing yet."""
        self.clients += 1
        self._fresh += 1

    def holds(self, version: int, before: int, now: int) -> None:
        """Take that one of them holds `version`, after `before` (0: nothing)."""
        newest = self.ledger.newest
        if version == newest:
            if self._newest != newest:
                self._newest, self._current = newest, 0
            self._current += 1
            if before:
                self._reckoned += now
        elif not before:
            self._reckoned -= now
        if not before:
            self._fresh -= 1

    def leaves(self, held: int, now: int) -> None:
        """Take that one of them that holds `held` follows no more."""
        self.clients -= 1
        if not held:
            self._fresh -= 1
        elif held == self.ledger.newest == self._newest:
            self._current -= 1
        else:
            self._reckoned += now
