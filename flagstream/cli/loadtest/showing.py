"""What a run shows while it goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from rich.console import Console

from loadtest.progress import Progress
from loadtest.report.live import LiveView

__all__ = ["Enduring", "shown"]

DRAW_EVERY: Final = 0.5


class Enduring(Console):
    """A console that falls silent when whoever read it has gone; Rich would end the program, in the middle of a run."""

    def on_broken_pipe(self) -> None:
        """Say no more: what is left in the buffer goes nowhere."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


@asynccontextmanager
async def shown(progress: Progress, *, quiet: bool) -> AsyncIterator[None]:
    """Show progress on stderr: a live view on a terminal, lines elsewhere, nothing if `quiet`.

    A stderr that cannot be written to, as that of a full disk, ends the showing and not the run.
    """
    if quiet:
        yield
        return
    view = LiveView(progress, Enduring(stderr=True, highlight=False))
    with suppress(OSError):
        view.__enter__()
    task = asyncio.create_task(_refresh(view))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(OSError):
            view.__exit__(None, None, None)


async def _refresh(view: LiveView) -> None:
    with suppress(OSError):
        while True:
            view.refresh()
            await asyncio.sleep(DRAW_EVERY)
