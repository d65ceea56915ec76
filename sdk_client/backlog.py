"""Changes that nobody has read yet, in bounded memory.

Up to `limit` of them are kept as they happened. Beyond that there is one for each feature, from the oldest unread
state to the newest, so a slow reader misses steps in between but never where a feature ended up.
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
    """Unread changes, oldest first; its owner sees to it that one thread at a time uses it."""

    __slots__ = ("_limit", "_merged", "_unread")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._unread: deque[Change] = deque()
        self._merged: dict[str, Change] = {}

    def put(self, changes: Iterable[Change]) -> None:
        """Add changes, merging when there are too many."""
        for change in changes:
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

    def clear(self) -> None:
        """Drop all."""
        self._unread.clear()
        self._merged.clear()

    def _fold(self, change: Change) -> None:
        before = self._merged.get(change.feature)
        self._merged[change.feature] = change if before is None else replace(change, old=before.old)
