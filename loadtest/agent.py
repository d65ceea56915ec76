"""An agent: starts generators on its host for a conductor on another one, one conductor at a time."""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable, Sequence
from typing import Final

from loadtest.agent_line import MOST_FROM_STRANGERS, Line, LineError
from loadtest.agent_messages import FORMAT, Enlist, Gone, Hello, Passed, Refused, Welcome
from loadtest.dividing import MOST_PROCESSES
from loadtest.generators import COMMAND, GeneratorError, LocalGenerator
from loadtest.machine import file_limit

__all__ = ["Agent"]

PATIENCE: Final = 10.0
"""Seconds in which whoever connects must say what it wants."""


class Agent:
    """Serves conductors that know `token`; `say` is told what goes on."""

    def __init__(self, token: str, say: Callable[[str], None], command: Sequence[str] = COMMAND) -> None:
        self._token = token.encode()
        self._say = say
        self._command = command
        self._conductor = ""
        self._lines: dict[asyncio.Task[None], Line] = {}

    async def serve(self, host: str, port: int, listening: Callable[[int], None]) -> None:
        """Listen, for ever; `listening` is called with the port. Raises OSError where it cannot."""
        server = await asyncio.start_server(self._connected, host, port)
        listening(server.sockets[0].getsockname()[1])
        try:
            async with server:
                await server.serve_forever()
        finally:
            for line in self._lines.values():
                line.hang_up()
            await asyncio.gather(*self._lines)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        task = asyncio.create_task(self._talk(line, "{}:{}".format(*writer.get_extra_info("peername")[:2])))
        self._lines[task] = line
        task.add_done_callback(self._lines.pop)

    async def _talk(self, line: Line, peer: str) -> None:
        try:
            if await self._admitted(line, peer):
                try:
                    await self._work(line)
                finally:
                    self._conductor = ""
                    self._say(f"{peer} has gone, and its generators with it")
        except LineError as error:
            self._say(f"{peer}: {error}")
        finally:
            await line.close()

    async def _admitted(self, line: Line, peer: str) -> bool:
        """Hear who it is; anyone who may not conduct is told why."""
        try:
            async with asyncio.timeout(PATIENCE):
                hello = await line.receive(MOST_FROM_STRANGERS)
        except TimeoutError:
            raise LineError("said nothing") from None
        reason = self._objection(hello)
        if reason:
            self._say(f"{peer} is refused: {reason}")
            line.send(Refused(reason=reason))
            await line.flushed()
            return False
        self._conductor = peer
        line.send(Welcome(cores=os.cpu_count() or 1, files=file_limit()))
        self._say(f"{peer} conducts")
        return True

    def _objection(self, hello: object) -> str:
        if not isinstance(hello, Hello):
            return "a conductor greets first"
        if not hmac.compare_digest(hello.token.encode(), self._token):
            return "it does not know this agent's token"
        if hello.format != FORMAT:
            return f"it is of another version (it speaks format {hello.format}, this agent {FORMAT})"
        return f"{self._conductor} conducts already" if self._conductor else ""

    async def _work(self, line: Line) -> None:
        """Pass on what is said, both ways, until the conductor hangs up; then all generators end."""
        try:
            enlist = await line.receive()
        except LineError as error:
            if str(error) == "hung up":  # another of its agents would not
                return
            raise
        if not isinstance(enlist, Enlist) or not 0 < enlist.generators <= MOST_PROCESSES:
            raise LineError("asks for no generators that could be started")
        generators: list[LocalGenerator] = []
        passing: list[asyncio.Task[None]] = []
        try:
            for number in range(enlist.generators):
                generator = await LocalGenerator.start(number, self._command)
                generators.append(generator)
                passing.append(asyncio.create_task(_pass_answers(line, number, generator)))
            while True:
                passed = await line.passed()
                if passed.generator < len(generators):
                    generators[passed.generator].pass_on(passed.data)
        except GeneratorError as error:
            line.send(Refused(reason=str(error)))
        except LineError as error:
            if str(error) != "hung up":
                raise
        finally:
            for generator in generators:
                generator.kill()
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            await asyncio.gather(*(generator.close() for generator in generators))


async def _pass_answers(line: Line, number: int, generator: LocalGenerator) -> None:
    while data := await generator.read():
        line.send(Passed(generator=number, data=data))
        await line.flushed()
    line.send(Gone(generator=number, reason=await generator.epitaph()))
