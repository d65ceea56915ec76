"""A command of the user's on the timeline: run to its end, and quoted where it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from flagstream.endings import ending
from loadtest.stack import StackError

__all__ = ["run_command"]

LINE: Final = 200
"""Characters of its last line that are quoted."""

PIPE: Final = 1 << 16
"""Bytes that a pipe holds (pipe(7))."""

KEPT: Final = 4096
"""Bytes of what it says that are kept; it may say any number of them."""


async def run_command(command: Sequence[str]) -> None:
    """Run a program with its arguments; raises StackError where it fails, with the last line that it wrote to stderr.

    When this is cancelled, its whole process group is killed. What it leaves behind when it ends by itself stays.
    """
    with _Said() as said:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said.end,
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{command[0]} cannot be run: {error.strerror or error}") from None
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        said.read()
    if status:
        raise StackError(f"{command[0]} {ending(status)}{_last_line(said.words)}")


class _Said:
    """The last of what is written to a pipe; `end` is where. That others still hold it open keeps nobody waiting."""

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        os.set_blocking(self._begin, False)
        self.words = b""

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._begin, self.read)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.get_running_loop().remove_reader(self._begin)
        os.close(self._begin)
        os.close(self.end)

    def read(self) -> None:
        """Take what is there: all that a pipe holds, once, for who writes without end would keep us here."""
        with contextlib.suppress(BlockingIOError):
            self.words = (self.words + os.read(self._begin, PIPE))[-KEPT:]


def _last_line(words: bytes) -> str:
    lines = words.decode(errors="replace").strip().splitlines()
    return f": {lines[-1][:LINE]}" if lines else ""
