"""What one group counts between two samples."""

from __future__ import annotations

from typing import Any, Final

from loadtest.histogram import Histogram
from loadtest.messages import COUNTS, HISTOGRAMS, GroupSample

__all__ = ["Tally"]

_COUNTS: Final = tuple(name for name in COUNTS if name != "behind_us")
"""For how long clients were behind is told by the versions that they hold, not counted here."""


class Tally:
    """What one group counted since its last sample, and its levels as they are; the names are those of GroupSample."""

    __slots__ = (
        *_COUNTS,
        *HISTOGRAMS,
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
        self.requests = self.connections = self.opened = self.left = self.replaced = self.given_up = 0
        self.events = self.heartbeats = self.deliveries = self.catch_ups = self.replays = 0
        self.duplicates = self.out_of_order = self.skipped = self.invalid = self.bytes = 0
        self.skipped_in_stream = 0
        self.fetches = self.fetches_failed = self.fetches_older = self.events_dropped = 0
        self.lost: dict[int, int] = {}
        self.broken: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.delivery, self.opening, self.gap = Histogram(), Histogram(), Histogram()
        self.staleness, self.fetch = Histogram(), Histogram()
        self.fetch_queued, self.fetch_answered = Histogram(), Histogram()
        self.readmission: dict[int, Histogram] = {}

    def error(self, words: str) -> None:
        """Count what went wrong, in a few words."""
        self.errors[words] = self.errors.get(words, 0) + 1

    def taken(self, behind: int, new: int = 0, behind_us: int = 0) -> GroupSample:
        """Return the sample, and begin to count anew."""
        counted: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        counted |= {name: getattr(self, name).pairs() for name in HISTOGRAMS}
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
