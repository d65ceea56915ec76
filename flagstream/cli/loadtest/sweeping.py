"""Folders of ``--local`` stacks whose run was killed and could not remove them."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["PREFIX", "sweep"]

PREFIX: Final = "flagstream-loadtest-"
SETTLED: Final = 60.0
"""Seconds after which a folder without a lock is nobody's: one that was just made has none yet."""


def sweep() -> None:
    """Remove the temporary folders of this user's stacks that run no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False
        if found.st_mtime > time.time() - SETTLED:
            return False
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return folder.is_dir()
    except OSError:  # it is in use
        return False
    return True
