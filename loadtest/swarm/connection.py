"""A connection of the swarm: a bare descriptor on which a stream is asked for."""

from __future__ import annotations

import os
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, Final

from loadtest.swarm.loop import READ, WRITE

if TYPE_CHECKING:
    from loadtest.swarm.opener import Opener

__all__ = ["ASKED", "ASKED_AGAIN", "AT_ONCE_GONE", "CONNECTING", "KEPT", "LIVE", "PIECE", "Connection", "words_of"]

CONNECTING, ASKED, ASKED_AGAIN, LIVE, KEPT, CLOSED = range(6)
"""KEPT: its stream came to a clean end, and the next one may be asked for; ASKED_AGAIN: it was."""

PIECE: Final = 4096
AT_ONCE_GONE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets."""

_SLOW_BUFFER: Final = 512
_SLOW_SEGMENT: Final = 300
_WORDS: Final = {
    ConnectionRefusedError: "connection refused",
    ConnectionResetError: "connection reset",
    BrokenPipeError: "connection reset",
    TimeoutError: "connection timed out",
}

_read, _write = os.read, os.write


class Connection:
    """A connection on which `client` asks for its stream; plain TCP, see `loadtest.swarm.tls` for the other.

    `moment` is when the stream was asked for, then when it went live; `heard` when it last said something.
    """

    __slots__ = ("_state", "client", "descriptor", "heard", "moment")

    def __init__(self, client: Opener) -> None:
        self.client: Opener | None = client
        self.descriptor = -1
        self.moment = self.heard = 0.0
        self._state = CLOSED

    @property
    def is_connecting(self) -> bool:
        """Tell whether there is no connection yet."""
        return self._state is CONNECTING

    def connect(self, now: float) -> None:
        """Connect and ask; raises OSError if it could not even begin."""
        client = self._owner
        slow = client.crew.group.slow
        sources = client.crew.target.sources
        made = sources.socket() if slow is None else sources.socket(receive_buffer=_SLOW_BUFFER, segment=_SLOW_SEGMENT)
        client.crew.tally.connections += 1
        self.moment = self.heard = now
        self._state = CONNECTING
        self._begin(made)

    def _begin(self, made: socket.socket) -> None:
        self.descriptor = made.detach()
        try:  # over loopback the connection is often there already
            _write(self.descriptor, self._owner.cell.stream)
        except BlockingIOError:
            self._owner.crew.loop.watch(self.descriptor, self, WRITE)
        except OSError as error:
            self._broken(error)
        else:
            self._state = ASKED
            self._owner.crew.loop.watch(self.descriptor, self, READ)

    def ask(self, now: float) -> bool:
        """Ask again on a connection that was kept; return False if it is gone."""
        self.moment = self.heard = now
        try:
            self._send(self._owner.cell.stream)
        except OSError:
            return False
        self._state = ASKED_AGAIN
        return True

    def _send(self, data: bytes) -> None:
        _write(self.descriptor, data)

    def _receive(self, most: int) -> bytes:
        return _read(self.descriptor, most)

    def handle(self, mask: int) -> None:
        """Take that something can be read, or, while connecting, that something can be written."""
        del mask  # whatever it says, trying tells more
        crew = self._owner.crew
        loop = crew.loop
        if self._state is LIVE:
            try:
                data = _read(self.descriptor, PIECE)
            except BlockingIOError:
                return
            except OSError as error:
                loop.catch_up()
                if self.client is not None:  # what was put aside may have ended it
                    self._broken(error)
                return
            if data:
                loop.put_aside(self, data)
            else:
                loop.catch_up()
                self.take(data, monotonic())
            return
        loop.catch_up()
        begun = crew.meter.begin()
        self._go_on_opening()
        crew.meter.end_opening(begun)

    def _go_on_opening(self) -> None:
        if self._state is CONNECTING:
            self._connected()
        else:
            self._take_next(PIECE)

    def _take_next(self, most: int) -> bytes | None:
        """Read and take a piece of at most so many bytes, and return it; None where there is none."""
        try:
            data = self._receive(most)
        except BlockingIOError:
            return None
        except OSError as error:
            self._broken(error)
            return None
        self.take(data, monotonic())
        return data

    def _connected(self) -> None:
        try:
            _write(self.descriptor, self._owner.cell.stream)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        self._state = ASKED
        self._owner.crew.loop.change(self.descriptor, READ)

    def take(self, data: bytes, moment: float) -> None:
        """Take a piece of the answer that was read at `moment`; an empty one is the end of the connection."""
        raise NotImplementedError

    def _broken(self, error: OSError) -> None:
        """Take that the connection failed."""
        raise NotImplementedError

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, with `reset` as if the network had failed; the client is not told."""
        if self._state is CLOSED:
            return
        self._state = CLOSED
        loop = self._owner.crew.loop
        loop.forget(self.descriptor)
        descriptor, self.descriptor = self.descriptor, -1
        self._close(descriptor, reset=reset)
        self.client = None

    def _close(self, descriptor: int, *, reset: bool) -> None:
        if not reset:
            os.close(descriptor)
            return
        with socket.socket(fileno=descriptor) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE_GONE)

    @property
    def _owner(self) -> Opener:
        client = self.client
        assert client is not None, "closed streams are not used again"
        return client


def words_of(error: OSError) -> str:
    """Return what went wrong with a connection, in a few words."""
    return _WORDS.get(type(error)) or (error.strerror or str(error)).lower()
