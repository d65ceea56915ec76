"""A handed-off stream on the bare descriptor of a plain TCP connection: one system call a frame, nothing in between.

While the kernel takes what is written, nothing is buffered here and the descriptor is watched for nothing but the
client's leaving. What arrives meanwhile stays in the kernel, whose window closes: a request pipelined behind the
stream's is served after it (RFC 9112, 9.3.2).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from stream_server.borrowed import borrowed
from stream_server.poller import GONE, HALF_CLOSED, READABLE, WRITABLE
from stream_server.stream import SEND_BUFFER, Course, Stream
from stream_server.transport import Home, Released

__all__ = ["KEEP_ALIVE", "DescriptorStream", "Resting"]

KEEP_ALIVE: Final = 75
"""Seconds that a connection waits for its next request: a proxy in front that keeps it longer would use one that is
closing."""

FAREWELL: Final = 1.0
"""Seconds in which a client can take the end of a connection that is to be closed; closing at once would reset it if
something of the client's were unread."""

COUNT: Final = struct.Struct("i")


class DescriptorStream(Stream):
    """A stream on a descriptor that it owns from `begin` on."""

    __slots__ = ("_fd", "_held", "_home", "_interest", "_keep", "_rest")

    _home: Home

    def __init__(self, course: Course, key: str, on_end: Callable[[], None] | None) -> None:
        super().__init__(course, key, on_end)
        self._fd = -1
        self._rest = b""  # of what is begun
        self._interest = HALF_CLOSED

    def begin(self, released: Released, *, framed: bool, keep: bool, held: bytes) -> None:
        """Take the connection over; `keep` it alive after a clean end, with the `held` bytes of the next request."""
        self._fd, self._rest, self._home = released
        self._framed = framed
        self._keep = keep
        self._held = held
        # So named, it asks the kernel nothing.
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, self._fd)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection.detach()
        if self._rest:
            self._home.poller.replace(self._fd, self, HALF_CLOSED | WRITABLE)
        else:
            self._home.poller.replace(self._fd, self, HALF_CLOSED)
            self._go_on()

    def on_event(self, events: int) -> None:
        """Take what epoll reports."""
        if events & GONE:
            self._cut("client")
            return
        if events & WRITABLE:
            self._write_rest()
        if events & HALF_CLOSED and self._fd >= 0:
            self._interest = 0  # it is told once, and would be for ever
            self._home.poller.watch(self._fd, WRITABLE if self._paused_since else 0)
            self._look()

    def abort(self) -> None:
        """Close now."""
        self._cut("drain")

    def _send(self, data: bytes) -> bool:
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._cut("client")
            return True
        if sent == len(data):
            return True
        if sent:
            self._rest = data[sent:]
        self._pause()
        self._home.poller.watch(self._fd, self._interest | WRITABLE)
        return sent > 0

    def _write_rest(self) -> None:
        if self._rest:
            try:
                sent = os.write(self._fd, self._rest)
            except BlockingIOError:
                return
            except OSError:
                self._cut("client")
                return
            self._rest = self._rest[sent:]
            if self._rest:
                self._paused_since = time.monotonic()
                return
        self._home.poller.watch(self._fd, self._interest)
        self._go_on()

    def _part(self) -> None:
        fd, self._fd = self._fd, -1
        rest = Resting(self._course, self._home, fd)
        if self._keep and (self._held or rest.unread()):
            # At once: a server that is about to stop must see that there is something to answer.
            self._home.give_back(fd, self._held)
        elif not self._keep or self._course.drain.draining:
            rest.farewell()
        else:
            rest.wait()

    def _cut(self, reason: str) -> None:
        self.leave(reason)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._home.poller.forget(fd)
            os.close(fd)


class Resting:
    """A connection between its stream and its next request, if there is one, or its end."""

    __slots__ = ("_course", "_fd", "_home", "_leaving", "tick")

    def __init__(self, course: Course, home: Home, fd: int) -> None:
        self._course = course
        self._home = home
        self._fd = fd
        self._leaving = False
        self.tick = 0

    def wait(self) -> None:
        """Wait for the next request."""
        self._home.resting[self] = None
        self._home.poller.replace(self._fd, self, READABLE | HALF_CLOSED)
        self._course.wheel.add(self, time.monotonic() + KEEP_ALIVE)

    def farewell(self) -> None:
        """Say that nothing more comes, and close when the client has heard it."""
        self._leaving = True
        with suppress(OSError), borrowed(self._fd) as connection:  # the client was faster, which the poller reports
            connection.shutdown(socket.SHUT_WR)
        self._home.poller.replace(self._fd, self, READABLE | HALF_CLOSED)
        self._course.wheel.add(self, time.monotonic() + FAREWELL)

    def on_event(self, events: int) -> None:
        """Let HTTP have what the client says; close when it has gone."""
        if events & GONE or (events & HALF_CLOSED and not self.unread()):
            self.abort()
        elif not self._leaving:
            self._leave()
            self._home.give_back(self._fd, b"")
        elif not self._read_away():
            self.abort()

    def due(self, now: float) -> None:
        """Close: nothing came in time."""
        del now
        self.abort()

    def abort(self) -> None:
        """Close now."""
        self._leave()
        self._home.poller.forget(self._fd)
        os.close(self._fd)

    def unread(self) -> int:
        """Return the bytes that have come and are not read."""
        count: tuple[int] = COUNT.unpack(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(COUNT.size)))
        return count[0]

    def _leave(self) -> None:
        self._home.resting.pop(self, None)
        self._course.wheel.discard(self)

    def _read_away(self) -> bool:
        try:
            return bool(os.read(self._fd, 64 * 1024))
        except BlockingIOError:
            return True
        except OSError:
            return False
