"""A socket of the test's own: it sends any bytes, and goes in any way."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.stream_server.raw import PATIENCE

__all__ = ["Socket", "connected", "flood", "noise"]


class Socket:
    """A connection on which nothing is decided for the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def until(self, data: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(data)

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Read until the server has closed the connection, cleanly or not."""
        parts = []
        try:
            async with asyncio.timeout(PATIENCE):
                while part := await self.reader.read(65536):
                    parts.append(part)
        except ConnectionError:
            pass
        return b"".join(parts)

    def reset(self) -> None:
        """Go without a word."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Socket]:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Socket(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def flood(client: Socket, block: bytes) -> int:
    """Send `block` again and again until the server closes; returns the bytes that went out before."""
    sent = 0
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                client.send(block)
                await client.writer.drain()
                sent += len(block)
                await asyncio.sleep(0)
    except ConnectionError:
        return sent


def noise(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what uvicorn and asyncio have logged at WARNING or above."""
    return [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING and record.name.startswith(("uvicorn", "asyncio"))
    ]
