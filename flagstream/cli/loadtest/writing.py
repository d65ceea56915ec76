"""Files of a run: there is the whole of one, or what was there before."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from flagstream.cli.failure import failure

__all__ = ["STDOUT", "check_writable", "write_atomically"]

STDOUT = Path("-")


def check_writable(path: Path | None, option: str) -> None:
    """End the command where a file cannot be written, before a run of minutes finds out."""
    if path is None or path == STDOUT:
        return
    if path.is_dir():
        raise failure(f"{option} {path} is a folder; name a file in it", status=2)
    if not path.parent.is_dir():
        raise failure(f"{option} {path}: there is no folder {path.parent}", status=2)
    if not os.access(path.parent, os.W_OK):
        raise failure(f"{option} {path}: the folder {path.parent} cannot be written to", status=2)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, or standard output for ``-``; ends the command where that fails."""
    if path == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            Path(temporary).chmod(0o666 & ~mask)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise failure(f"{path} cannot be written: {error.strerror or error}") from None
