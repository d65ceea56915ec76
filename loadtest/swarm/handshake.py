"""The beginning of a TLS handshake, for streams and for fetches, and how its failure is told."""

from __future__ import annotations

import os
import socket
import ssl

from loadtest.swarm.crew import Place
from loadtest.swarm.loop import READ, Handler, Loop

__all__ = ["failure", "wrapped"]


def wrapped(plain: socket.socket, place: Place, loop: Loop, handler: Handler) -> ssl.SSLSocket:
    """Return a connection with its handshake yet to do, which `loop` watches for `handler` in place of the plain one.

    Raises OSError where there is no connection.
    """
    failed = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failed:
        raise OSError(failed, os.strerror(failed))
    assert place.tls is not None, "this is for targets with TLS"
    loop.forget(plain.fileno())  # before: where wrapping fails, the descriptor is closed
    made = place.tls.wrap_socket(plain, server_hostname=place.target.host, do_handshake_on_connect=False)
    loop.watch(made.fileno(), handler, READ)
    return made


def failure(error: ssl.SSLError) -> str:
    """Return what went wrong with TLS, in a few words."""
    return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
