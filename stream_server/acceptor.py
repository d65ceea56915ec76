"""Takes new connections from a listening socket, without letting a storm of them stop the streams that run.

A few are accepted a turn of the loop, at most so many a second where a pace is set. Descriptors are given by the lowest
free number, so the number of a new one tells how many are left: at the ceiling accepting stops and the kernel's queue
holds who comes. A server that runs into its limit of open files instead drops them one after the other, which sends
published SDKs into a loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from flagstream.logs import get_logger

__all__ = ["Acceptor"]

log = get_logger(__name__)

BATCH: Final = 32
"""Connections accepted before everything else gets a turn."""

PAUSE: Final = 0.05
"""Seconds between two looks at whether there are descriptors again."""

SILENCE: Final = 60.0
"""Seconds after a warning in which it is not repeated."""

NEAR_THE_LIMIT: Final = "the number of open files comes near its limit"

BURST: Final = 0.1
"""Seconds' worth of a pace that may come at once."""

OUT_OF_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of this process or host; any other is of the one connection, in whose place accept(2) reports it."""


class Acceptor:
    """Accepts from `listener` and calls `take` with each connection and its peer's address.

    `ceiling` is the descriptor number from which on nothing is accepted, `pace` connections a second, 0 for any.
    `make_room` closes connections that nobody would miss, if there are some, and tells whether it has.
    """

    def __init__(
        self,
        listener: socket.socket,
        take: Callable[[socket.socket, Any], None],
        *,
        ceiling: int,
        pace: float,
        make_room: Callable[[], bool],
    ) -> None:
        self._listener = listener
        self._take = take
        self._ceiling = ceiling
        self._pace = pace
        self._make_room = make_room
        self._allowed = max(pace * BURST, 1.0)
        self._counted_at = 0.0
        self._paused: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._silent_until = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Accept from now on."""
        self._loop = loop
        self._counted_at = loop.time()
        loop.add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more; the listening socket stays open, and who waits in its queue stays there."""
        if self._loop is not None:
            self._loop.remove_reader(self._listener.fileno())
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None

    def hurry(self) -> None:
        """Keep no pace any more: the listening socket is to be closed, which resets who still waits."""
        self._pace = 0.0
        if self._paused is not None:
            self._paused.cancel()
            self._resume()

    def _accept(self) -> None:
        for _ in range(self._batch()):
            try:
                connection, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_ROOM:
                    self._out_of_descriptors(error.strerror or str(error))
                    return
                continue
            self._allowed -= 1
            connection.settimeout(0)
            last = connection.fileno() >= self._ceiling
            try:
                self._take(connection, peer)
            except OSError as error:  # of epoll, which has a limit of its own
                self._out_of_descriptors(error.strerror or str(error))
                return
            if last:
                self._out_of_descriptors(NEAR_THE_LIMIT)
                return

    def _batch(self) -> int:
        """Return how many may be accepted in this turn; with none left, come back when there is one."""
        if not self._pace or self._loop is None:
            return BATCH
        now = self._loop.time()
        self._allowed = min(self._allowed + (now - self._counted_at) * self._pace, max(self._pace * BURST, 1.0))
        self._counted_at = now
        if self._allowed < 1:
            self._pause((1 - self._allowed) / self._pace)
            return 0
        return min(int(self._allowed), BATCH)

    def _out_of_descriptors(self, reason: str) -> None:
        assert self._loop is not None  # noqa: S101 - it called
        if self._make_room():
            return
        if self._loop.time() >= self._silent_until:
            log.warning("connections wait to be accepted", reason=reason)
            self._silent_until = self._loop.time() + SILENCE
        self._pause(PAUSE)

    def _pause(self, seconds: float) -> None:
        assert self._loop is not None  # noqa: S101 - it called
        self._loop.remove_reader(self._listener.fileno())
        self._paused = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        assert self._loop is not None  # noqa: S101 - it called
        self._paused = None
        if self._is_full() and not self._make_room():
            self._pause(PAUSE)
        else:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _is_full(self) -> bool:
        """Tell whether the lowest free descriptor is at the ceiling."""
        try:
            lowest = os.dup(self._listener.fileno())
        except OSError:
            return True
        os.close(lowest)
        return lowest >= self._ceiling
