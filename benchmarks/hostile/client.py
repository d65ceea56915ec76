"""One connection of a client that decides by itself what it sends, when it reads, and how it goes."""

from __future__ import annotations

import os
import random
import socket
import ssl
import struct
import time
from typing import Final

from benchmarks.hostile.answers import Ask

__all__ = ["Client"]

PATIENCE: Final = 20.0
"""Seconds without a byte after which a client that reads gives up: many heartbeats and the longest stream."""

NO_WORD: Final = struct.pack("ii", 1, 0)


class Client:
    """One connection; `asks` is what it has asked for, `got` what came, and `fault` what should not have happened.

    `stays` is set where it reads to the end, so that all answers must have come, or the first `at_least` of them.
    """

    def __init__(self, port: int, chance: random.Random, encryption: ssl.SSLContext | None, buffer: int) -> None:
        self.chance = chance
        self.asks: list[Ask] = []
        self.got = b""
        self.stays = False
        self.at_least: int | None = None
        self.began = time.monotonic()
        """A moment before the first request."""
        self._parts: list[bytes] = []
        plain = socket.socket()
        try:
            plain.settimeout(PATIENCE)
            if buffer:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            plain.connect(("127.0.0.1", port))
            self._socket = encryption.wrap_socket(plain, server_hostname="localhost") if encryption else plain
        except BaseException:
            plain.close()
            raise

    def ask(self, *asks: Ask) -> None:
        """Ask for all of `asks` in one go."""
        self.asks += asks
        self.say(b"".join(ask.request for ask in asks))

    def drip(self, *asks: Ask) -> None:
        """Ask in pieces of any size, with pauses; nothing is read meanwhile."""
        self.asks += asks
        left = b"".join(ask.request for ask in asks)
        while left:
            piece = left[: self.chance.randint(1, len(left))]
            self.say(piece)
            left = left[len(piece) :]
            if self.chance.random() < 0.5:
                self.pause(0.3)

    def say(self, data: bytes) -> None:
        """Send any bytes."""
        self._socket.sendall(data)

    def pause(self, most: float) -> None:
        """Do nothing for up to `most` seconds."""
        time.sleep(self.chance.random() * most)

    def read(self, most: int = 65536) -> bytes:
        """Return some of what comes, nothing at the end."""
        part = self._socket.recv(most)
        self._parts.append(part)
        return part

    def read_until(self, end: bytes) -> None:
        """Read until `end` has come, which more may have followed, or to the end."""
        last = b""
        while end not in last and (part := self.read()):
            last = last[-len(end) :] + part

    def read_to_the_end(self) -> None:
        """Read until the server closes."""
        self.stays = True
        while self.read():
            pass

    def half_close(self) -> None:
        """Say nothing more."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Go without a word."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_WORD)
        os.close(self._socket.detach())  # under TLS, closing would be a word

    def close(self) -> None:
        """Go; what came until now is in `got`."""
        self._socket.close()
        self.got = b"".join(self._parts)
