"""Folders in the place for temporary files that do not outlive their programs: the next program removes what is left.

Who uses one holds a shared lock on it for as long as it runs, so that one whose lock is to be had is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["hold", "sweep", "temporary_folder"]

SETTLED: Final = 60.0
"""Seconds after which a folder without a lock is nobody's: one that was just made has none yet."""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Make a folder, removed at the end, after removing those of this prefix that killed programs have left."""
    sweep(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lock = hold(folder)
        try:
            yield folder
        finally:
            os.close(lock)


def hold(folder: Path) -> int:
    """Keep `folder` from being swept until the descriptor that is returned is closed, or this process has ended."""
    descriptor = _open(folder)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def sweep(prefix: str) -> None:
    """Remove this user's folders of this prefix that no program holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mtime > time.time() - SETTLED:
            return False
        lock = _open(folder)
    except OSError:  # removed meanwhile
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is in use
        return False
    finally:
        os.close(lock)
    return True


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
