"""Sockets to connect with, from many addresses where the way leads over loopback.

One address has some 28,000 ports towards a server; 127.0.0.0/8 has sixteen million addresses, all of this host.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import Final

__all__ = ["GENERATOR_ERRORS", "Sources", "source_address"]

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Choose the port when the destination is known (Linux, ip(7)): a port may then serve several destinations."""

GENERATOR_ERRORS: Final = {
    errno.EMFILE: "no descriptor left (EMFILE)",
    errno.ENFILE: "no descriptor left on this machine (ENFILE)",
    errno.EADDRNOTAVAIL: "no port left to connect from (EADDRNOTAVAIL)",
    errno.ENOBUFS: "no memory for sockets (ENOBUFS)",
    errno.ENOMEM: "no memory for sockets (ENOMEM)",
}
"""What is this machine's failure and not the server's, by its errno."""


def source_address(number: int) -> str:
    """Return the `number`-th address of 127.1.0.0 and up; none ends in 0 or 255."""
    upper, last = divmod(number, 254)
    middle, third = divmod(upper, 256)
    return f"127.{1 + middle % 254}.{third}.{1 + last}"


class Sources:
    """Makes the sockets for one destination; with `count` addresses from the `first` on if that is on loopback.

    Raises OSError where the name cannot be resolved.
    """

    def __init__(self, host: str, port: int, first: int, count: int) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        chosen = next((each for each in found if each[0] is socket.AF_INET), found[0])
        self.family = chosen[0]
        self.address = chosen[4]
        self.is_loopback = ipaddress.ip_address(self.address[0]).is_loopback
        own = self.family is socket.AF_INET and self.is_loopback
        self._own = [source_address(first + number) for number in range(count)] if own else []
        self._turn = 0

    def socket(self, *, receive_buffer: int = 0, segment: int = 0) -> socket.socket:
        """Return a socket that has begun to connect; raises OSError if it could not even begin.

        `receive_buffer` (bytes) and `segment` (bytes) are small for readers that are to be slow: over loopback's
        segments of 64 KiB the kernel would take megabytes for them, and no server would notice.
        """
        made = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if self._own:
                self._turn = (self._turn + 1) % len(self._own)
                made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                made.bind((self._own[self._turn], 0))
            if receive_buffer:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if segment:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
            status = made.connect_ex(self.address)
            if status not in (0, errno.EINPROGRESS):
                raise OSError(status, os.strerror(status))  # noqa: TRY301 - closed below, as after any other error
        except BaseException:
            made.close()
            raise
        return made
