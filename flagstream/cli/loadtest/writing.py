"""Files of a run: there is the whole of one, or what was there before."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
from pathlib import Path

from flagstream.cli.failure import failure

__all__ = ["STDOUT", "check_distinct", "check_writable", "write_atomically"]

STDOUT = Path("-")


def check_writable(path: Path | None, option: str) -> None:
    """End the command where a file cannot be written, before a run of minutes finds out."""
    if path is None or path == STDOUT:
        return
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        raise failure(f"{option} {path} cannot be written: {error.strerror or error}", status=2) from None
    if stat.S_ISDIR(mode):
        raise failure(f"{option} {path} is a folder; name a file in it", status=2)
    if _is_replaced(mode):
        folder = _place(path).parent
        if not folder.is_dir():
            raise failure(f"{option} {path}: there is no folder {folder}", status=2)
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".flagstream-"):  # what permissions say is not all
                pass
        except OSError as error:
            says = f"{option} {path}: the folder {folder} cannot be written to: {error.strerror or error}"
            raise failure(says, status=2) from None
    elif not os.access(path, os.W_OK):
        raise failure(f"{option} {path} cannot be written to", status=2)


def check_distinct(**files: Path | None) -> None:
    """End the command where two files, by their options or names, are one: the second would be all that is left."""
    names: dict[Path, str] = {}
    for name, path in files.items():
        if path is not None and (other := names.setdefault(_place(path), name)) != name:
            raise failure(f"{other} and {name} are the same file, {path}; give each its own", status=2)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, or standard output for ``-``; ends the command where that fails."""
    try:
        if path == STDOUT:
            _print(content)
        elif _is_replaced(path.stat().st_mode if path.exists() else 0):
            _replace(_place(path), content)
        else:
            path.write_bytes(content)
    except OSError as error:
        name = "standard output" if path == STDOUT else path
        kept = "" if path == STDOUT else _kept(path, content)
        raise failure(f"{name} cannot be written: {error.strerror or error}{kept}") from None


def _kept(path: Path, content: bytes) -> str:
    """Write what cannot be had a second time where there may be room; return where, to go on a sentence."""
    try:
        descriptor, place = tempfile.mkstemp(prefix="flagstream-", suffix=path.suffix)
    except OSError:
        return ""
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError:  # half a report is none, and takes room where there was none
        Path(place).unlink(missing_ok=True)
        return ""
    return f"; it is in {place} instead"


def _is_replaced(mode: int) -> bool:
    """Say whether a new file is to take the place of what is there: never that of a device or of a pipe."""
    return not mode or stat.S_ISREG(mode)


def _place(path: Path) -> Path:
    """Return where a file is, behind all links, which stay."""
    return path if path == STDOUT else Path(os.path.realpath(path))


def _print(content: bytes) -> None:
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError:
        # What is left in the buffer would fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".flagstream-")
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
