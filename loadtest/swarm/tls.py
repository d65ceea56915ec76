"""Streams over TLS: dearer in memory and time than bare descriptors, for targets that have nothing else."""

from __future__ import annotations

import contextlib
import socket
import ssl

from loadtest.models import Loss
from loadtest.swarm.connection import ASKED, AT_ONCE_GONE, CONNECTING, LIVE, PIECE
from loadtest.swarm.handshake import failure, wrapped
from loadtest.swarm.loop import READ, WRITE
from loadtest.swarm.stream import Stream

__all__ = ["TlsStream"]


class TlsStream(Stream):
    """A stream whose connection is encrypted; the handshake counts as connecting."""

    __slots__ = ("_plain", "_wrapped")

    def _begin(self, made: socket.socket) -> None:
        self._plain: socket.socket | None = made
        self._wrapped: ssl.SSLSocket | None = None
        self.descriptor = made.fileno()
        self._owner.crew.loop.watch(self.descriptor, self, WRITE)

    def _send(self, data: bytes) -> None:
        assert self._wrapped is not None, "nothing is sent before the handshake"
        self._wrapped.send(data)

    def _receive(self, most: int) -> bytes:
        assert self._wrapped is not None, "nothing is read before the handshake"
        try:
            return self._wrapped.read(most)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLError:
            return b""  # closed without its closing words, which the framing tells better

    def handle(self, mask: int) -> None:
        """Take that the connection is readable or writable."""
        del mask
        crew = self._owner.crew
        crew.loop.catch_up()
        if self._state is LIVE:
            self._read_all()
            return
        begun = crew.meter.begin()
        self._go_on_opening()
        crew.meter.end_opening(begun)

    def _go_on_opening(self) -> None:
        if self._state is not CONNECTING:
            self._read_all()
            return
        loop = self._owner.crew.loop
        try:
            self._connected()
        except ssl.SSLWantReadError:
            loop.change(self.descriptor, READ)
        except ssl.SSLWantWriteError:
            loop.change(self.descriptor, WRITE)
        except ssl.SSLError as error:
            self._lose(Loss.REFUSED, failure(error))
        except OSError as error:
            self._broken(error)

    def _read_all(self) -> None:
        """Read until nothing decrypted is left, a slow reader only once."""
        while self._wrapped is not None:
            data = self._take_next(PIECE)
            if not data or (self._state is LIVE and self._owner.crew.group.slow is not None):
                return

    def _connected(self) -> None:
        if self._wrapped is None:
            assert self._plain is not None, "it is wrapped once"
            crew = self._owner.crew
            self._wrapped = wrapped(self._plain, crew.target, crew.loop, self)
            self._plain = None
            self.descriptor = self._wrapped.fileno()
        self._wrapped.do_handshake()
        self._send(self._owner.cell.stream)
        self._state = ASKED
        self._owner.crew.loop.change(self.descriptor, READ)

    def _close(self, descriptor: int, *, reset: bool) -> None:
        del descriptor
        for each in (self._wrapped, self._plain):
            if each is not None:
                with contextlib.suppress(OSError):
                    if reset:
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE_GONE)
                    each.close()
        self._wrapped = self._plain = None
