"""Generators on other hosts, through the agents that run there."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final, Self

from loadtest.agent_line import Line, LineError
from loadtest.agent_messages import Enlist, Gone, Hello, Passed, Refused, Welcome
from loadtest.generators import GeneratorError, Inbox
from loadtest.messages import Answer, Order, packed

__all__ = ["RemoteGenerator", "RemoteHost"]

ANSWERS_WITHIN: Final = 10.0


class RemoteGenerator:
    """One generator of an agent; what comes is put in by its host."""

    def __init__(self, host: RemoteHost, number: int) -> None:
        self.name = f"generator {number} at {host.address}"
        self._host = host
        self._number = number
        self._inbox = Inbox(self.name, self._more)
        self._bytes: asyncio.Queue[bytes | str] = asyncio.Queue()
        self._gone = ""

    def put(self, said: bytes | str) -> None:
        """Take bytes of answers, or how it ended."""
        self._bytes.put_nowait(said)

    def send(self, order: Order) -> None:
        """Tell it something."""
        self._host.line.send(Passed(generator=self._number, data=packed(order)))

    async def receive(self) -> Answer:
        """Return its next answer; raises `GeneratorError` when there will be none."""
        return await self._inbox.next()

    async def _more(self) -> bytes:
        said = self._gone or await self._bytes.get()
        if isinstance(said, str):
            self._gone = said
            raise GeneratorError(f"{self.name}: {said}")
        return said

    async def close(self) -> None:
        """End it: agents end all of theirs when their conductor hangs up."""
        await self._host.close()


async def _greeted(line: Line, token: str) -> object:
    """Return what the other side answers to a greeting; the line is closed where there is no answer."""
    try:
        line.send(Hello(token=token))
        return await line.receive()
    except BaseException:
        await line.close()
        raise


def _words(error: OSError) -> str:
    """Return what the system says of it; asyncio adds what it has called, and with which address."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)


class RemoteHost:
    """The connection to one agent."""

    def __init__(self, address: str, line: Line, welcome: Welcome) -> None:
        self.address = address
        self.line = line
        self.cores = welcome.cores
        self.files = welcome.files
        self._generators: list[RemoteGenerator] = []
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: str, token: str) -> Self:
        """Greet the agent at ``HOST:PORT``; raises `GeneratorError` where it does not work for us."""
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                line = Line(*await asyncio.open_connection(host.strip("[]"), int(port)))
                answer = await _greeted(line, token)
        except TimeoutError:
            raise GeneratorError(f"the agent at {address} does not answer") from None
        except OSError as error:
            raise GeneratorError(
                f"there is no agent at {address} ({_words(error)}): start flagstream loadtest agent there"
            ) from None
        except LineError as error:
            raise GeneratorError(f"what listens at {address} is no agent: {error}") from None
        match answer:
            case Welcome():
                return cls(address, line, answer)
            case Refused(reason=reason):
                await line.close()
                raise GeneratorError(f"the agent at {address} refuses: {reason}")
        await line.close()
        raise GeneratorError(f"what listens at {address} is no agent: it answers {type(answer).__name__}")

    def enlist(self, generators: int) -> list[RemoteGenerator]:
        """Have so many generators started there."""
        self.line.send(Enlist(generators=generators))
        self._generators = [RemoteGenerator(self, number) for number in range(generators)]
        self._listening = asyncio.create_task(self._listen())
        return self._generators

    async def _listen(self) -> None:
        """Give each generator what is its own, until the agent hangs up; its failure is each generator's."""
        try:
            while True:
                match await self.line.receive():
                    case Passed(generator=number, data=data):
                        self._generators[number].put(data)
                    case Gone(generator=number, reason=reason):
                        self._generators[number].put(reason)
                    case Refused(reason=reason):
                        self._put_all(f"its agent refuses: {reason}")
                    case other:
                        self._put_all(f"its agent says {type(other).__name__}")
        except (LineError, IndexError) as error:
            self._put_all(f"its agent {error}")

    def _put_all(self, reason: str) -> None:
        for generator in self._generators:
            generator.put(reason)

    async def close(self) -> None:
        """Hang up."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None
        await self.line.close()
