"""The folder of one `flagstream up`: its database, NATS store, tokens, and what is running right now.

flagstream.db   the publisher's database        nats/       the JetStream store
tokens.json     admin and sse token, 0600       snapshot/   the stream server's snapshot
demo.json       the seeded environment          up.json     what `--json` prints, while it runs, 0600
nats.conf       bounds nats.log                 nats.log    nats-server's log, and one full one before it
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import IO, Any

from flagstream.cli.failure import failure

__all__ = ["DataFolder", "default_folder", "open_folder", "running_stack"]

MOST_AT_ONCE = 32
LOG_SIZE = "10MB"

TRIES = 3
PAUSE = 0.02
"""Seconds between tries for the lock: a command that looks whether it is held has it for a moment."""


def default_folder() -> Path:
    """Return the folder used when none is named: ``flagstream`` in the user's data folder (XDG base directories)."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "flagstream"


class DataFolder:
    """A locked data folder; the lock goes with the process."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    def tokens(self) -> tuple[str, str]:
        """Return the admin and the sse token, made on the first run."""
        file = self.path / "tokens.json"
        if file.exists():
            held = json.loads(file.read_text())
            return held["admin_token"], held["sse_token"]
        admin, sse = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._write_private("tokens.json", {"admin_token": admin, "sse_token": sse})
        return admin, sse

    def nats_config(self) -> Path:
        """Write what nats-server takes from a file only, and return the file: a log of bounded size."""
        file = self.path / "nats.conf"
        # The number counts the current one.
        file.write_text(f"logfile_size_limit: {LOG_SIZE}\nlogfile_max_num: 2\n")
        return file

    def demo(self) -> dict[str, str] | None:
        """Return the demo environment seeded by an earlier run."""
        file = self.path / "demo.json"
        return json.loads(file.read_text()) if file.exists() else None

    def remember_demo(self, demo: dict[str, str]) -> None:
        """Keep what was seeded, so that it is seeded once."""
        self._write_private("demo.json", demo)

    def show_running(self, stack: dict[str, Any]) -> None:
        """Tell other commands on this machine what runs."""
        self._write_private("up.json", stack)

    def close(self) -> None:
        """Nothing runs any more: leave the folder to the next one."""
        (self.path / "up.json").unlink(missing_ok=True)
        self._lock.close()

    def _write_private(self, name: str, content: dict[str, Any]) -> None:
        """Write by rename, so that a reader sees the old or the new and a kill leaves one of them whole."""
        new = self.path / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file)
        new.replace(self.path / name)


def open_folder(path: Path | None) -> DataFolder:
    """Make and lock a data folder.

    Without a `path` the default is used, or the first of ``flagstream-2``, ``flagstream-3``… that no other
    `flagstream up` has, so that several run side by side. A named folder in use is an error.
    """
    if path is not None:
        if (folder := _lock(path)) is not None:
            return folder
        raise failure(f"{path} is in use by another flagstream up; stop that one or give --data another folder")
    first = default_folder()
    for number in range(1, MOST_AT_ONCE + 1):
        folder = _lock(first if number == 1 else first.with_name(f"{first.name}-{number}"))
        if folder is not None:
            return folder
    raise failure(f"{MOST_AT_ONCE} flagstream up are running already; stop one or give --data a folder")


def _lock(path: Path) -> DataFolder | None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (path / "lock").open("w")
    except OSError as error:
        raise failure(
            f"the data folder {path} cannot be used: {error.strerror}; give --data a folder that you can write to"
        ) from None
    for _ in range(TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(PAUSE)
        else:
            return DataFolder(path, lock)
    lock.close()
    return None


def running_stack(path: Path | None = None) -> dict[str, Any] | None:
    """Return what the `flagstream up` of this data folder printed, None when none runs there."""
    folder = path or default_folder()
    if not _is_locked(folder):
        return None  # one that was killed left its up.json behind, and its ports may be somebody else's by now
    try:
        stack: dict[str, Any] = json.loads((folder / "up.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return stack


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
