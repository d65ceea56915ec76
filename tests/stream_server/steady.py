"""Clients that keep coming, whatever the server does: what each of them met is noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from publisher.messages import version_of
from tests.stream_server.raw import NUMBER, Answer, CutError, stream_path

PACE = 0.01
"""Seconds between two of them."""


@dataclass
class Visit:
    """One connection: a stream read to its end, or one question about health."""

    number: int
    began: float
    status: int = 0
    versions: list[int] = field(default_factory=list)
    fault: str = ""
    """What no client should meet: a refused or reset connection, a truncated answer."""
    lifetime: float = 0.0
    """What its stream was to live, in seconds, and then how long it did from the first byte of its request."""
    lived: float = 0.0
    over: bool = False


class Visits:
    """Begins one every `PACE` seconds at the URL that `target` gives, every other one a stream."""

    def __init__(self, target: Callable[[], str]) -> None:
        self._target = target
        self._coming = asyncio.Event()
        self._coming.set()
        self.all: list[Visit] = []

    @property
    def faults(self) -> list[str]:
        return [f"{visit.number}: {visit.fault}" for visit in self.all if visit.fault]

    def end(self) -> None:
        """Let nobody come any more; those who are there stay to the end of their streams."""
        self._coming.clear()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while self._coming.is_set():
                visit = Visit(len(self.all), asyncio.get_running_loop().time())
                self.all.append(visit)
                group.create_task(self._visit(visit))
                await asyncio.sleep(PACE)

    async def _visit(self, visit: Visit) -> None:
        is_stream = visit.number % 2 == 0
        try:
            path = stream_path("abc") if is_stream else "/health/liveness"
            async with await Answer.to(self._target(), path) as answer:
                visit.status = answer.status
                if not is_stream:
                    await answer.content()
                    return
                visit.lifetime = float(answer.headers["x-stream-lifetime"])
                while (chunk := await answer.chunk()) is not None:
                    visit.versions += [version_of(float(each)) for each in NUMBER.findall(chunk)]
                visit.lived = asyncio.get_running_loop().time() - visit.began
        except (CutError, OSError, EOFError) as error:
            visit.fault = repr(error)
        finally:
            visit.over = True


@asynccontextmanager
async def visits(target: Callable[[], str]) -> AsyncIterator[Visits]:
    """Have clients come during the block, and wait behind it until the last has left."""
    steady = Visits(target)
    task = asyncio.create_task(steady.run())
    try:
        yield steady
    finally:
        steady.end()
        await task
