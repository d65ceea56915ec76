"""The way to the conductor: messages out, as fast as it takes them, and orders in."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from loadtest.messages import Answer, Message, Order, Unpacker, packed
from loadtest.swarm.loop import READ, WRITE, Handler, Loop

__all__ = ["Channel"]

PIECE = 1 << 20


class Channel:
    """A connected socket, whose `handler` is called for what comes on it and for what could not be written before."""

    def __init__(self, connected: socket.socket, loop: Loop, handler: Handler) -> None:
        self._socket = connected
        connected.setblocking(False)  # noqa: FBT003 - the name says it
        self._loop = loop
        loop.watch(connected.fileno(), handler)
        self._unpacker = Unpacker()
        self._unsent = bytearray()

    @property
    def has_said_all(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._unsent

    def say(self, message: Message) -> None:
        """Write a message, now or when there is room; where nobody listens any more, the loop is stopped."""
        empty = not self._unsent
        self._unsent += packed(message)
        if empty:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._loop.stop()
            return
        del self._unsent[:sent]
        self._loop.change(self._socket.fileno(), READ | WRITE if self._unsent else READ)

    def receive(self) -> bytes | None:
        """Return what has come, nothing where the conductor is gone, None where nothing has come."""
        try:
            return self._socket.recv(PIECE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def orders(self, data: bytes) -> Iterator[Order | Answer]:
        """Yield the messages that `data` completes; raises ValueError for what is none."""
        yield from self._unpacker.feed(data)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
