"""What the generators of a run say, until the last word of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from loadtest.collecting import Collector
from loadtest.generators import Generator, GeneratorError
from loadtest.messages import Ended, Failed, Sample

__all__ = ["Hearing"]

ENDS_WITHIN: Final = 30.0
"""Seconds for the generators to say their last word."""


class Hearing:
    """Gives `collector` what `generators` measured; `say` is told at once when one is lost.

    `broken` is set then, and `reasons` has why: nobody knows what its clients would have seen.
    """

    def __init__(self, generators: Sequence[Generator], collector: Collector, say: Callable[[str], None]) -> None:
        self._generators = generators
        self._collector = collector
        self._say = say
        self.broken = asyncio.Event()
        self.reasons: list[str] = []

    def begin(self) -> list[asyncio.Task[None]]:
        """Listen to each; a task ends with its generator's last word."""
        return [
            asyncio.create_task(self._listen(process), name=f"generator {process}")
            for process in range(len(self._generators))
        ]

    async def last_words(self, listening: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the last word of each, which they have been told to say."""
        _, late = await asyncio.wait(listening, timeout=ENDS_WITHIN)
        if late:
            names = [
                generator.name for generator, task in zip(self._generators, listening, strict=True) if task in late
            ]
            self.reasons.append(f"{', '.join(names)} did not say the last word within {ENDS_WITHIN:g} s")

    async def _listen(self, process: int) -> None:
        generator = self._generators[process]
        try:
            while True:
                match await generator.receive():
                    case Sample() as sample:
                        self._collector.take(sample)
                    case Ended(lost=lost):
                        self._collector.ended(lost)
                        return
                    case Failed(reason=reason):
                        self._lose(process, f"{generator.name} cannot go on: {reason}")
                        return
        except GeneratorError as error:
            self._lose(process, str(error))

    def _lose(self, process: int, reason: str) -> None:
        self.reasons.append(reason)
        self._say(reason)
        self._collector.gone(process)
        self.broken.set()
