"""Who has which version: how many clients are behind, for how long each was, and what was never theirs."""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort

__all__ = ["Cell", "Ledger"]


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

    __slots__ = (
        "_begins",
        "_current",
        "_fresh",
        "_newest",
        "_reckoned",
        "clients",
        "document",
        "headers",
        "ledger",
        "stream",
    )

    def __init__(self, ledger: Ledger, *, stream: bytes = b"", document: bytes = b"", headers: bytes = b"") -> None:
        self.ledger = ledger
        self.stream = stream
        self.document = document
        self.headers = headers
        self.clients = 0
        self._begins = array("d")
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

    def lost(self, now: float) -> int:
        """How many are without the newest version, of those whose turn to begin had come by `now`."""
        early = sum(when > now for when in self._begins)
        return self.behind + max(0, self.new - early)

    def begins(self, when: float) -> None:
        """Take that the first stream of one is not to be opened before `when`, a moment of the loop's clock."""
        self._begins.append(when)

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
