"""Fetching ahead: an announced change is fetched before the first client that was told of it asks.

A client hears of a version and asks for the document milliseconds later; it then finds the fetch done or under way,
and joins it because it began when that version was known. A few go at once, so that a thousand environments that
change together do not crowd out what clients wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from stream_server.documents.document import DocumentKey

__all__ = ["Prefetch"]

AT_ONCE: Final = 8
"""Fetches ahead that are under way at most."""


class Prefetch:
    """Documents that are due; `start` begins a fetch, or returns None where there is no need of one any more."""

    def __init__(self, start: Callable[[DocumentKey], asyncio.Future[Any] | None]) -> None:
        self._start = start
        self._due: dict[DocumentKey, None] = {}
        self._under_way = 0

    def add(self, keys: Iterable[DocumentKey]) -> None:
        """Have `keys` fetched, at once or as soon as there is room."""
        self._due.update(dict.fromkeys(keys))
        self._go_on()

    def stop(self) -> None:
        """Begin none any more."""
        self._due.clear()

    def _go_on(self) -> None:
        while self._due and self._under_way < AT_ONCE:
            key = next(iter(self._due))
            del self._due[key]
            landed = self._start(key)
            if landed is not None:
                self._under_way += 1
                landed.add_done_callback(self._landed)

    def _landed(self, _: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        self._go_on()
