"""What a run shows while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from rich.console import Console

from loadtest.progress import Progress
from loadtest.report.live import LiveView

__all__ = ["shown"]

DRAW_EVERY: Final = 0.5


@asynccontextmanager
async def shown(progress: Progress, *, quiet: bool) -> AsyncIterator[None]:
    """Show progress on stderr: a live view on a terminal, lines elsewhere, nothing if `quiet`."""
    if quiet:
        yield
        return
    with LiveView(progress, Console(stderr=True, highlight=False)) as view:
        task = asyncio.create_task(_refresh(view))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _refresh(view: LiveView) -> None:
    while True:
        view.refresh()
        await asyncio.sleep(DRAW_EVERY)
