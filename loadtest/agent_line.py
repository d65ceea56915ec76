"""A connection between conductor and agent: whole messages in and out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from loadtest.agent_messages import LENGTH, Enlist, Gone, Hello, Passed, Refused, Speech, Welcome, packed, unpacked

__all__ = ["Line", "LineError"]

MOST: Final = 64 << 20
MOST_FROM_STRANGERS: Final = 4096
"""Bytes of the first message, before whoever sends it has shown the token."""


class LineError(Exception):
    """The other side has gone, or says what makes no sense."""


class Line:
    """Reads and writes messages on one TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self, most: int = MOST) -> Hello | Refused | Welcome | Enlist | Passed | Gone:
        """Return the next message, of `most` bytes; raises `LineError` at the end and for what is none."""
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            if length > most:
                raise LineError(f"a message of {length} bytes")
            return unpacked(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            raise LineError("hung up") from None
        except ValueError as error:
            raise LineError(str(error)) from None

    async def passed(self) -> Passed:
        """Return the next bytes for a generator, or from one; raises `LineError` for anything else."""
        speech = await self.receive()
        if not isinstance(speech, Passed):
            raise LineError(f"says {type(speech).__name__} where bytes belong")
        return speech

    def send(self, speech: Speech) -> None:
        """Send a message; nothing happens where the other side has gone."""
        if not self._writer.is_closing():
            self._writer.write(packed(speech))

    async def flushed(self) -> None:
        """Wait until the other side has taken most of what was sent."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def hang_up(self) -> None:
        """Hang up: whoever waits for a message is told so."""
        self._writer.close()

    async def close(self) -> None:
        """Hang up, and wait until that is done."""
        self.hang_up()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
