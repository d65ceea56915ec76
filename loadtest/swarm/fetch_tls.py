"""Fetching over TLS."""

from __future__ import annotations

import ssl

from loadtest.swarm.fetch_connection import PIECE, FetchConnection
from loadtest.swarm.handshake import wrapped
from loadtest.swarm.loop import READ, WRITE

__all__ = ["TlsFetchConnection"]


class TlsFetchConnection(FetchConnection):
    """The same over TLS; the handshake counts as connecting."""

    def _connected(self) -> None:
        loop = self._fetcher.run.loop
        if not isinstance(self._socket, ssl.SSLSocket):
            self._socket = wrapped(self._socket, self._fetcher.place, loop, self)
            self._descriptor = self._socket.fileno()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            loop.change(self._descriptor, READ)
        except ssl.SSLWantWriteError:
            loop.change(self._descriptor, WRITE)
        else:
            super()._connected()

    @property
    def _tls(self) -> ssl.SSLSocket:
        assert isinstance(self._socket, ssl.SSLSocket), "nothing is said before the handshake"
        return self._socket

    def _write(self, data: bytes) -> None:
        self._tls.send(data)

    def _read(self) -> bytes | None:
        pieces = []
        try:
            while piece := self._tls.read(PIECE):
                pieces.append(piece)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"".join(pieces) or None
        return b"".join(pieces)
