"""Listening sockets: bound once, one a worker, and never closed while a connection waits in their queue."""

from __future__ import annotations

import socket
import struct
import sys
import time
from typing import Final

from flagstream.logs import get_logger
from stream_server.settings import StreamServerSettings

__all__ = ["bind", "listen", "url_of", "waiting"]

log = get_logger(__name__)

BACKLOG: Final = 4096

PATIENCE: Final = 1.5
"""Seconds to wait for the address: workers of a process that was killed hold it for a moment longer."""

LINUX_TCP_INFO_HEAD: Final = struct.Struct("=8B7I")


def listen(settings: StreamServerSettings) -> list[socket.socket]:
    """Return a listening socket for each worker; raises SystemExit with status 1 and says why it cannot."""
    try:
        return bind(settings.host, settings.port, settings.workers)
    except OSError as error:
        log.error("cannot listen", host=settings.host, port=settings.port, reason=error.strerror or str(error))  # noqa: TRY400 - a traceback says nothing more
        sys.exit(1)


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen on one address and share its connections; port 0 takes a free one.

    Raises `OSError` when the address is taken or not ours.
    """
    first = _bind_patiently(host, port, shared=count > 1)
    port = first.getsockname()[1]
    sockets = [first, *(_bound(host, port, shared=True) for _ in range(count - 1))]
    for listener in sockets:
        listener.listen(BACKLOG)
        listener.settimeout(0)
    return sockets


def _bind_patiently(host: str, port: int, *, shared: bool) -> socket.socket:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            # SO_REUSEPORT would let two servers share one port by mistake: find it free first.
            _bound(host, port, shared=False).close()
            return _bound(host, port, shared=shared)
        except OSError:
            if time.monotonic() > deadline or port == 0:
                raise
            time.sleep(0.05)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL at which `listener` is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def waiting(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted, 0 where the system does not tell.

    Linux: for a socket that listens, `tcpi_unacked` of TCP_INFO is the length of its accept queue (tcp_get_info()).
    """
    if sys.platform != "linux":
        return 0
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LINUX_TCP_INFO_HEAD.size)
    fields: tuple[int, ...] = LINUX_TCP_INFO_HEAD.unpack(info)
    return fields[8 + 4]  # rto, ato, snd_mss, rcv_mss, unacked
