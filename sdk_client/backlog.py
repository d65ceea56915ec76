"""Changes that nobody has read yet, in bounded memory.

Up to `limit` of them are kept as they happened. Beyond that there is one for each feature, from the oldest unread
state to the newest, so a slow reader misses steps in between but never where a feature ended up, and memory is bounded
by the limit and the number of features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from sdk_client.changes import Change

__all__ = ["LIMIT", "Backlog"]

LIMIT: Final = 1000


class Backlog:
    """Unread changes, oldest first, until `end`; its owner sees to it that one thread at a time uses it."""

    __slots__ = ("_limit", "_merged", "_unread", "fault", "has_ended")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._unread: deque[Change] = deque()
        self._merged: dict[str, Change] = {}
        self.has_ended = False
        self.fault: BaseException | None = None
        """What it ended by, None where that was no fault."""

    def put(self, changes: Iterable[Change]) -> None:
        """Add changes, merging when there are too many; after the end they are dropped."""
        for change in () if self.has_ended else changes:
            if not self._merged and len(self._unread) < self._limit:
                self._unread.append(change)
                continue
            while self._unread:
                self._fold(self._unread.popleft())
            self._fold(change)

    def pop(self) -> Change | None:
        """Take the oldest, None where all are read."""
        if self._unread:
            return self._unread.popleft()
        return self._merged.pop(next(iter(self._merged))) if self._merged else None

    def end(self, fault: BaseException | None = None) -> None:
        """Take that no change comes any more; the first end counts."""
        if not self.has_ended:
            self.has_ended = True
            self.fault = fault

    def clear(self) -> None:
        """Drop what is unread."""
        self._unread.clear()
        self._merged.clear()

    def _fold(self, change: Change) -> None:
        before = self._merged.get(change.feature)
        self._merged[change.feature] = change if before is None else replace(change, old=before.old)
