"""Listening sockets: bound once, one a worker, and never closed while a connection waits in their queue.

A service manager may keep the socket and pass it (systemd.socket(5)): then it outlives this program too, and who
connects between two runs waits in its queue.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from typing import Final

from flagstream.logs import get_logger
from stream_server.settings import StreamServerSettings

__all__ = ["bind", "listen", "url_of", "waiting"]

log = get_logger(__name__)

BACKLOG: Final = 4096

FIRST_PASSED: Final = 3
"""Number of the first descriptor that a service manager passes (SD_LISTEN_FDS_START)."""

PATIENCE: Final = 1.5
"""Seconds to wait for the address: workers of a process that was killed hold it for a moment longer."""

LINUX_TCP_INFO_HEAD: Final = struct.Struct("=8B7I")


def listen(settings: StreamServerSettings) -> list[socket.socket]:
    """Return a listening socket for each worker; raises SystemExit with status 1 and says why it cannot."""
    try:
        if passed := _passed(os.environ):
            return _shared(passed, settings.workers)
        return bind(settings.host, settings.port, settings.workers)
    except OSError as error:
        log.error("cannot listen", host=settings.host, port=settings.port, reason=error.strerror or str(error))  # noqa: TRY400 - a traceback says nothing more
        sys.exit(1)


def _passed(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the sockets that a service manager has passed to this very process, often none (sd_listen_fds(3))."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    return [socket.socket(fileno=FIRST_PASSED + number) for number in range(int(environ.get("LISTEN_FDS", "0")))]


def _shared(passed: list[socket.socket], count: int) -> list[socket.socket]:
    """Return `count` sockets of what was passed; several workers may accept from one queue.

    Raises `OSError` where they do not listen for TCP, or are more than the workers.
    """
    if len(passed) > count:
        raise OSError(f"{len(passed)} sockets were passed for {count} workers")
    for listener in passed:
        if listener.family not in {socket.AF_INET, socket.AF_INET6} or not _listens(listener):
            raise OSError("a socket was passed that does not listen for TCP connections")
        listener.set_inheritable(False)
        _prepare(listener)
    return [*passed, *(passed[number % len(passed)].dup() for number in range(len(passed), count))]


def _listens(listener: socket.socket) -> bool:
    return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen on one address and share its connections; port 0 takes a free one.

    Raises `OSError` when the address is taken or not ours.
    """
    first = _bind_patiently(host, port, shared=count > 1)
    port = first.getsockname()[1]
    sockets = [first, *(_bound(host, port, shared=True) for _ in range(count - 1))]
    for listener in sockets:
        _prepare(listener)
    return sockets


def _prepare(listener: socket.socket) -> None:
    listener.listen(BACKLOG)
    listener.settimeout(0)


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
