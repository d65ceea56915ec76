"""One epoll for all client connections of a process, itself watched by the event loop.

A connection that only listens to a stream needs no transport, no protocol and no timer of the loop: its descriptor is
here, and what handles it is one small object in a table. Level-triggered (epoll(7)); Linux only.
"""

from __future__ import annotations

import asyncio
import select
import sys
from contextlib import suppress
from typing import Final, Protocol

from flagstream.logs import get_logger

__all__ = ["GONE", "HALF_CLOSED", "READABLE", "WRITABLE", "Handler", "Poller", "is_available"]

log = get_logger(__name__)

READABLE: Final = getattr(select, "EPOLLIN", 0x001)
WRITABLE: Final = getattr(select, "EPOLLOUT", 0x004)
HALF_CLOSED: Final = getattr(select, "EPOLLRDHUP", 0x2000)
"""The peer has nothing more to say; it may still listen."""

GONE: Final = getattr(select, "EPOLLERR", 0x008) | getattr(select, "EPOLLHUP", 0x010)
"""Reset, timed out, or closed both ways; reported whether it is asked for or not."""

BATCH: Final = 256
"""Events handled before everything else gets a turn of the loop."""


def is_available() -> bool:
    """Tell whether this system has epoll."""
    return sys.platform == "linux"


class Handler(Protocol):
    """What stands behind a descriptor."""

    def on_event(self, events: int) -> None:
        """Take what epoll reports of the descriptor; one that raises is aborted."""

    def abort(self) -> None:
        """Close the descriptor now."""


class Poller:
    """The table of descriptors, and the epoll that watches them."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: list[Handler | None] = []

    @property
    def watching(self) -> int:
        """Descriptors in the table."""
        return sum(handler is not None for handler in self._handlers)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `loop` call the handlers from now on."""
        loop.add_reader(self._epoll.fileno(), self._poll)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stop for good; descriptors that are still here stay open."""
        loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def add(self, fd: int, handler: Handler, events: int) -> None:
        """Watch `fd` for `events`."""
        handlers = self._handlers
        if fd >= len(handlers):
            handlers.extend([None] * (fd + 1 - len(handlers)))
        self._epoll.register(fd, events)
        handlers[fd] = handler

    def replace(self, fd: int, handler: Handler, events: int) -> None:
        """Let another handler have `fd`, and watch it for other events."""
        self._epoll.modify(fd, events)
        self._handlers[fd] = handler

    def watch(self, fd: int, events: int) -> None:
        """Watch `fd` for other events."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Take `fd` out; call it before closing the descriptor, whose number may be given again at once."""
        self._handlers[fd] = None
        self._epoll.unregister(fd)

    def close_all(self) -> None:
        """Let every handler close its descriptor."""
        for handler in self._handlers:
            if handler is not None:
                handler.abort()

    def _poll(self) -> None:
        handlers = self._handlers
        for fd, events in self._epoll.poll(0, BATCH):
            handler = handlers[fd]
            if handler is None:
                continue  # a handler before it in this batch has closed it
            try:
                handler.on_event(events)
            except Exception:
                # Whatever one client made its connection stumble over is the end of that connection alone.
                log.exception("a connection failed")
                self._give_up(fd, handler)

    def _give_up(self, fd: int, handler: Handler) -> None:
        with suppress(Exception):
            handler.abort()
        if self._handlers[fd] is handler:  # it could not even do that, and its events would come for ever
            with suppress(OSError):
                self.forget(fd)
