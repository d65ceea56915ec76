"""One process at a time, by a lock on a file that the operating system takes back from whoever dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

__all__ = ["exclusive"]

STEP: Final = 0.005
"""Seconds between two looks at a lock that another process holds."""


@contextmanager
def exclusive(path: Path, patience: float) -> Iterator[bool]:
    """Hold the lock on the file at `path`, made if need be and left there; raises OSError.

    Yields False where there are no such locks (Windows, some network file systems): then nothing is held. Raises
    TimeoutError after `patience` seconds: whoever holds it may be stopped for ever, and a thread that waits for it
    would keep the program from ending. Threads of one process exclude each other as well.
    """
    if sys.platform == "win32":
        yield False
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        held = _acquire(handle, patience)
        try:
            yield held
        finally:
            if held:  # closing gives it back as well, unless a child was forked meanwhile: it has the file open too
                fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _acquire(handle: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held the lock for {patience:g} s") from None
            time.sleep(STEP)
        except OSError:
            return False
        else:
            return True
