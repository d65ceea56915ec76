"""Fetching over TLS."""

from __future__ import annotations

import os
import socket
import ssl

from loadtest.swarm.fetch_connection import PIECE, FetchConnection
from loadtest.swarm.loop import READ, WRITE

__all__ = ["TlsFetchConnection"]


class TlsFetchConnection(FetchConnection):
    """The same over TLS; the handshake counts as connecting."""

    def _connected(self) -> None:
        loop = self._fetcher.run.loop
        if not isinstance(self._socket, ssl.SSLSocket):
            self._wrap()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            loop.change(self._descriptor, READ)
        except ssl.SSLWantWriteError:
            loop.change(self._descriptor, WRITE)
        else:
            super()._connected()

    def _wrap(self) -> None:
        failed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
        loop, place = self._fetcher.run.loop, self._fetcher.place
        assert place.tls is not None, "this connection is for targets with TLS"
        loop.forget(self._descriptor)
        self._socket = place.tls.wrap_socket(
            self._socket, server_hostname=place.target.host, do_handshake_on_connect=False
        )
        self._descriptor = self._socket.fileno()
        loop.watch(self._descriptor, self, READ)

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
