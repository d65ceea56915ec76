"""Changes for code without asyncio: an iterator that blocks the thread that reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Self

from sdk_client.backlog import LIMIT, Backlog
from sdk_client.changes import Change
from sdk_client.errors import ClientStoppedError

__all__ = ["BlockingChanges"]


class BlockingChanges:
    """An iterator of changes, from its making until `cancel` or the client's end; threads that share it share them.

    It holds 1,000 unread changes, and beyond that one for each feature. Where the client ended by a fault of its own,
    iterating raises ClientStoppedError after the last change; the fault is its cause. `before_wait` is called before
    anything blocks.
    """

    def __init__(self, before_wait: Callable[[], None], limit: int = LIMIT) -> None:
        self._before_wait = before_wait
        self._backlog = Backlog(limit)
        self._news = threading.Condition()

    def get(self, timeout: float | None = None) -> Change:
        """Return the next change, waiting for it.

        Raises TimeoutError after `timeout` seconds (None: never), and ClientStoppedError when the last was read.
        """
        self._before_wait()
        change = self.take(timeout)
        if change is None:
            self._raise_fault()
            raise ClientStoppedError("there are no more changes, the flag client is closed")
        return change

    def take(self, timeout: float | None = None) -> Change | None:
        """Wait for the next change (TimeoutError), wherever this is called; return None when the last was read."""
        until = None if timeout is None else monotonic() + timeout
        with self._news:
            while (change := self._backlog.pop()) is None and not self._backlog.has_ended:
                left = None if until is None else until - monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no change within {timeout:g} s")
                self._news.wait(left)
            return change

    def cancel(self) -> None:
        """End the iteration at once; what is unread is dropped."""
        with self._news:  # which is reentrant: nothing may come between the two
            self._backlog.clear()
            self.close()

    def put(self, changes: Iterable[Change]) -> None:
        """Add changes for the reader, merging when it is too far behind."""
        with self._news:
            self._backlog.put(changes)
            self._news.notify_all()

    def close(self, fault: BaseException | None = None) -> None:
        """End the iteration once what is unread has been read, by ClientStoppedError where there is a `fault`."""
        with self._news:
            self._backlog.end(fault)
            self._news.notify_all()

    def after_fork(self) -> None:
        """Go on in a child, where whoever held the lock does not exist."""
        self._news = threading.Condition()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        self._before_wait()
        change = self.take()
        if change is None:
            self._raise_fault()
            raise StopIteration
        return change

    def _raise_fault(self) -> None:
        if self._backlog.fault is not None:
            raise ClientStoppedError("the flag client failed") from self._backlog.fault
