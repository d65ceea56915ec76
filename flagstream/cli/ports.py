"""Ports for the embedded stack."""

from __future__ import annotations

import random
import socket

from flagstream.cli.failure import failure

__all__ = ["choose_port", "free_port"]

# Below the range that the kernel takes ports of outgoing connections from: a client that keeps trying a port of that
# range while its server is down can end up connected to itself, and then the server cannot have its port back.
FREE_PORTS = range(10_240, 32_768)
HOST = "127.0.0.1"


def choose_port(port: int, option: str) -> int:
    """Return `port`, or a free one for 0; fails with what to do when something else listens there."""
    if port == 0:
        return free_port()
    if not _bindable(port):
        raise failure(f"port {port} is in use by another program; give {option} another one, or 0 for any that is free")
    return port


_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing uses, and that was not given before: who asked may not listen yet."""
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        if port not in _given and _bindable(port):
            _given.add(port)
            return port
    raise failure("no free port could be found on 127.0.0.1")


def _bindable(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose old connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
