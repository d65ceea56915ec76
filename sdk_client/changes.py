"""Changes of flags: what one is, how two documents differ, and how they reach whoever listens.

A subscription holds up to `limit` unread changes as they happened. Beyond that it keeps one for each feature, from
the oldest unread state to the newest, so a slow reader misses steps in between but never where a feature ended up,
and its memory is bounded by the limit and the number of features.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sdk_client.documents import Flag

__all__ = ["Change", "Changes", "difference"]

LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """One feature went from `old` to `new` at `version`; None stands for a feature that is not there."""

    feature: str
    old: Flag | None
    new: Flag | None
    version: int

    @property
    def enabled(self) -> bool:
        """On or off now; off where the feature is gone."""
        return self.new is not None and self.new.enabled

    @property
    def old_enabled(self) -> bool:
        """On or off before; off where the feature was not there."""
        return self.old is not None and self.old.enabled

    @property
    def value(self) -> Any:
        """The value now; None where the feature is gone."""
        return None if self.new is None else self.new.value

    @property
    def old_value(self) -> Any:
        """The value before; None where the feature was not there."""
        return None if self.old is None else self.old.value


def difference(old: Mapping[str, Flag], new: Mapping[str, Flag], version: int) -> list[Change]:
    """Return what changed, by the order of the new document and then of the features that are gone."""
    changes = [
        Change(name, old.get(name), flag, version) for name, flag in new.items() if not _same(old.get(name), flag)
    ]
    return changes + [Change(name, flag, None, version) for name, flag in old.items() if name not in new]


def _same(old: Flag | None, new: Flag) -> bool:
    # repr, for in Python 1, 1.0 and True are equal, and a value that became another type has changed.
    return old is not None and old.enabled == new.enabled and repr(old.value) == repr(new.value)


class Changes:
    """An async iterator of changes, from its making until `close` or the client's end.

    One reader at a time. Iterating raises the client's own fault, if it had one, after the last change.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._unread: deque[Change] = deque()
        self._merged: dict[str, Change] = {}
        self._wake = asyncio.Event()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, changes: Iterable[Change]) -> None:
        """Add changes for the reader, merging when it is too far behind."""
        if self._closed:
            return
        for change in changes:
            if self._merged or len(self._unread) >= self._limit:
                self._merge(change)
            else:
                self._unread.append(change)
        self._wake.set()

    def close(self, error: BaseException | None = None) -> None:
        """End the iteration once what is unread has been read; `error` is raised then."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._wake.set()

    def cancel(self) -> None:
        """End the iteration at once; what is unread is dropped."""
        self._unread.clear()
        self._merged.clear()
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while True:
            if self._unread:
                return self._unread.popleft()
            if self._merged:
                return self._merged.pop(next(iter(self._merged)))
            if self._closed:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()

    def _merge(self, change: Change) -> None:
        while self._unread:
            self._fold(self._unread.popleft())
        self._fold(change)

    def _fold(self, change: Change) -> None:
        before = self._merged.get(change.feature)
        self._merged[change.feature] = change if before is None else replace(change, old=before.old)
