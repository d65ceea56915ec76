"""Changes for code with asyncio: an iterator that is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Self

from sdk_client.backlog import LIMIT, Backlog
from sdk_client.changes import Change
from sdk_client.errors import ClientStoppedError

__all__ = ["Changes"]


class Changes:
    """An async iterator of changes, from its making until `cancel` or the client's end; one reader at a time.

    It holds 1,000 unread changes, and beyond that one for each feature. Where the client ended by a fault of its own,
    iterating raises ClientStoppedError after the last change; the fault is its cause.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._backlog = Backlog(limit)
        self._news = asyncio.Event()

    def cancel(self) -> None:
        """End the iteration at once; what is unread is dropped."""
        self._backlog.clear()
        self.close()

    def put(self, changes: Iterable[Change]) -> None:
        """Add changes for the reader, merging when it is too far behind."""
        self._backlog.put(changes)
        self._news.set()

    def close(self, fault: BaseException | None = None) -> None:
        """End the iteration once what is unread has been read, by ClientStoppedError where there is a `fault`."""
        self._backlog.end(fault)
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while (change := self._backlog.pop()) is None:
            if self._backlog.has_ended:
                if self._backlog.fault is not None:
                    raise ClientStoppedError("the flag client failed") from self._backlog.fault
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return change
