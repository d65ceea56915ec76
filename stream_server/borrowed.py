"""A socket object for a descriptor that stays its owner's, for the calls that need one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["borrowed"]


@contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """Lend `fd` to a socket object during the block.

    It is not duplicated: a process that is out of descriptors could not even close its side of a connection.
    """
    connection = socket.socket(fileno=fd)
    try:
        yield connection
    finally:
        connection.detach()
