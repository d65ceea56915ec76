"""The generator that asyncio would suggest: one protocol object a stream on uvloop, and otherwise the same.

It speaks `loadtest.messages` as far as a benchmark needs (Start, Open, Report, Stop), so that one driver leads both.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

from loadtest.machine import PAGE
from loadtest.messages import Ended, Open, Ready, Report, Sample, Start, Stop, Unpacker, packed
from loadtest.swarm.body import Meanings
from loadtest.swarm.sources import Sources
from loadtest.swarm.tally import Tally


class Stream(asyncio.Protocol):
    """One stream: counts its events and their latencies."""

    __slots__ = ("asked", "generator", "is_live", "told", "transport")

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.told = 0
        self.is_live = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self.asked = time.monotonic()
        self.transport.write(self.generator.request)

    def data_received(self, data: bytes) -> None:
        """Take the head, then events."""
        generator = self.generator
        tally = generator.tally
        if not self.is_live:
            head, _, data = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            self.is_live = True
            tally.opened += 1
            tally.open += 1
            tally.opening.record(time.monotonic() - self.asked)
            if not data:
                return
        meaning = generator.meanings.known.get(data)
        if meaning is None:
            meaning, _ = generator.meanings.read(data)
        for version in meaning if isinstance(meaning, list) else (meaning,):
            if version > self.told:
                self.told = version
                tally.events += 1
                tally.deliveries += 1
                tally.delivery.record(time.monotonic() - (version / 1e6 + generator.epoch))


class Generator:
    """What the streams have in common."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self.tally = Tally()
        self.meanings = Meanings()
        self._streams: list[Stream] = []

    async def run(self) -> None:
        """Serve until told to stop."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        reader, writer = await asyncio.open_connection(sock=self._channel)
        writer.write(packed(Ready(process=0, pid=os.getpid(), capacity=hard)))
        unpacker = Unpacker()
        while data := await reader.read(1 << 16):
            for order in unpacker.feed(data):
                match order:
                    case Start(targets=[target, *_], environments=[environment, *_], epoch=epoch):
                        self.epoch = epoch
                        self._sources = Sources(target.host, target.port, 0, 8)
                        path = f"{target.prefix}/sse/environments/{environment.key}/stream"
                        self.request = f"GET {path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n\r\n".encode()
                    case Open(count=count):
                        await self._open(count)
                    case Report():
                        writer.write(packed(self._sample()))
                    case Stop():
                        for stream in self._streams:
                            stream.transport.abort()
                        writer.write(packed(Ended(process=0, lost=[0])))
                        await writer.drain()
                        return

    async def _open(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            begun = self._sources.socket()
            _, stream = await loop.create_connection(lambda: Stream(self), sock=begun)
            self._streams.append(stream)

    def _sample(self) -> Sample:
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        groups = [self.tally.taken(0)]
        return Sample(process=0, at=0.0, groups=groups, cpu=time.process_time(), rss=rss, busy=0.0, late=0.0, loop=0.0)


if __name__ == "__main__":
    uvloop.run(Generator(socket.socket(fileno=int(sys.argv[1]))).run())
