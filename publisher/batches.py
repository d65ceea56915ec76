"""Group commit: everything that waits goes into one transaction.

A thousand calls at once would otherwise wait for a thousand commits in a row, each with a sync to disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

__all__ = ["Batches"]

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST = 2000
"""Items of one transaction; the rest waits for the next."""


class Batches(Generic[Item, Result]):
    """Collects items while one write is under way and hands them to the next one together."""

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._write = write
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._filled = asyncio.Event()

    async def submit(self, item: Item) -> Result:
        """Return the result of `item` once its transaction is committed; raises what the write raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._filled.set()
        return await future

    async def run(self) -> None:
        """Write for ever; one task a process runs this. What waits when it is cancelled is refused."""
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._waiting:
                    await self._write_some()
        finally:
            self._refuse(self._waiting)

    @staticmethod
    def _refuse(items: Iterable[tuple[Item, asyncio.Future[Result]]]) -> None:
        for _, future in items:
            if not future.done():
                future.set_exception(ConnectionAbortedError("the process stops"))

    async def _write_some(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(LARGEST, len(self._waiting)))]
        try:
            results = await self._write([item for item, _ in taken])
        except asyncio.CancelledError:
            self._refuse(taken)
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait for it, not to this loop
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(taken, results, strict=True):
            if not future.done():  # its caller may have hung up
                future.set_result(result)
