"""Generators on this host: each a process of the swarm, told its orders and heard over a socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import IO, Final, Protocol, Self

from flagstream.endings import die_with_parent, ending
from loadtest.messages import Answer, Failed, Order, Pong, Ready, Sample, Unpacker, packed
from loadtest.messages import Ended as EndedAnswer

__all__ = ["COMMAND", "Generator", "GeneratorError", "LocalGenerator", "last_words"]

COMMAND: Final = (sys.executable, "-m", "loadtest.swarm")
"""How a generator is started; the number of its socket comes after it."""

READ: Final = 1 << 18
WORDS: Final = 4096
ENDS_WITHIN: Final = 5.0
_ANSWERS: Final = (Ready, Pong, Sample, EndedAnswer, Failed)


class GeneratorError(Exception):
    """A generator could not be started, or ended before it was asked to; the message says which, and its last words."""


class Generator(Protocol):
    """What the conductor asks of a generator, wherever it runs."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def send(self, order: Order) -> None:
        """Tell it something; nothing happens where it has gone."""

    async def receive(self) -> Answer:
        """Return its next answer; raises `GeneratorError` when there will be none."""

    async def close(self) -> None:
        """End it, at once if need be."""


class Inbox:
    """Answers out of the bytes of the generator `name`, of which `more` brings some; it raises when there are none."""

    def __init__(self, name: str, more: Callable[[], Awaitable[bytes]]) -> None:
        self._name = name
        self._more = more
        self._unpacker = Unpacker()
        self._answers: deque[Answer] = deque()

    async def next(self) -> Answer:
        """Return the oldest answer that has not been taken; raises `GeneratorError` where one cannot be understood."""
        while not self._answers:
            data = await self._more()
            try:
                self._feed(data)
            except ValueError as error:
                raise GeneratorError(f"{self._name} cannot be understood: {error}") from None
        return self._answers.popleft()

    def _feed(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            if not isinstance(message, _ANSWERS):
                raise ValueError(  # noqa: TRY004 - what comes off a wire is wrong by its value
                    f"an order ({type(message).__name__}) where an answer belongs"
                )
            self._answers.append(message)


class LocalGenerator:
    """One generator process: it dies with this one, and a Ctrl-C is ours to pass on."""

    def __init__(
        self,
        number: int,
        process: asyncio.subprocess.Process,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        said: IO[bytes],
    ) -> None:
        self.name = f"generator {number} (pid {process.pid})"
        self._process = process
        self._reader, self._writer = streams
        self._said = said
        self._inbox = Inbox(self.name, self._more)

    @classmethod
    async def start(cls, number: int, command: Sequence[str] = COMMAND) -> Self:
        """Start one; raises `GeneratorError` where that fails."""
        ours, theirs = socket.socketpair()
        said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the generator
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                    preexec_fn=partial(die_with_parent, signal.SIGKILL),
                )
            except OSError as error:
                ours.close()
                said.close()
                raise GeneratorError(f"generator {number} could not be started: {error}") from None
        return cls(number, process, await asyncio.open_connection(sock=ours), said)

    def send(self, order: Order) -> None:
        """Tell it something."""
        self.pass_on(packed(order))

    def pass_on(self, data: bytes) -> None:
        """Write bytes of orders as they are."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def receive(self) -> Answer:
        """Return its next answer."""
        return await self._inbox.next()

    async def _more(self) -> bytes:
        data = await self.read()
        if not data:
            raise GeneratorError(await self.epitaph())
        return data

    async def read(self) -> bytes:
        """Return bytes of answers as they come, none at the end."""
        try:
            return await self._reader.read(READ)
        except ConnectionError:
            return b""

    async def epitaph(self) -> str:
        """Return how it ended, which it is about to, and what it said last."""
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                status = await self._process.wait()
        except TimeoutError:
            return f"{self.name} hung up"
        words = last_words(self._said)
        return f"{self.name} {ending(status)}{': ' if words else ''}{words}"

    async def close(self) -> None:
        """Hang up, at which it ends; after a while the hard way."""
        self._writer.close()
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        finally:
            self._said.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def last_words(said: IO[bytes]) -> str:
    """Return the last line of a file that is not empty: of a traceback, the error itself."""
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - WORDS))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
