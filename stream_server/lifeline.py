"""A worker's end of the two pipes between it and its supervisor.

Orders come by a pipe and not by signals: a signal that comes before its handler is set ends the process, and the
connections in its queue with it; an order waits in the pipe. The pipe ends with the supervisor, however that ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

__all__ = ["LEFT", "READY", "REPLACED", "STOP", "Lifeline"]

STOP: Final = b"s"
"""Order: drain; a second one ends the drain at once."""

REPLACED: Final = b"r"
"""Order: accept nothing more, a successor does; end when all streams have reached their own ends."""

READY: Final = b"ready\n"
"""Word of a worker that accepts connections."""

LEFT: Final = b"left\n"
"""Word of a worker that was replaced and accepts no more."""


class Lifeline:
    """`orders` is the descriptor that the supervisor's orders are read from, `words` the one it is told by."""

    def __init__(self, orders: int, words: int) -> None:
        self._orders = orders
        self._words = words
        self._handlers: dict[bytes, Callable[[], None]] = {}

    def watch(
        self, *, on_stop: Callable[[], None], on_replaced: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        """Call back on each order, and once when the supervisor is gone."""
        self._handlers = {STOP: on_stop, REPLACED: on_replaced, b"": on_gone}
        asyncio.get_running_loop().add_reader(self._orders, self._read)

    def say(self, word: bytes) -> None:
        """Tell the supervisor."""
        with suppress(BrokenPipeError):  # it is gone, which the other pipe tells
            os.write(self._words, word)

    def _read(self) -> None:
        order = os.read(self._orders, 1)
        if not order:
            asyncio.get_running_loop().remove_reader(self._orders)
        self._handlers[order]()
