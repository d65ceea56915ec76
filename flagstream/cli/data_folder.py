"""The folder of one `flagstream up`: its database, NATS store, tokens, and what is running right now.

flagstream.db   the publisher's database        nats/       the JetStream store
tokens.json     admin and sse token, 0600       snapshot/   the stream server's snapshot
demo.json       the seeded environment          up.json     what `--json` prints, while it runs, 0600
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import IO, Any

from flagstream.cli.failure import failure

__all__ = ["DataFolder", "default_folder", "open_folder", "running_stack"]

MOST_AT_ONCE = 32


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

    def clear_running(self) -> None:
        """Nothing runs any more."""
        (self.path / "up.json").unlink(missing_ok=True)

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
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return DataFolder(path, lock)


def running_stack(path: Path | None = None) -> dict[str, Any] | None:
    """Return what the `flagstream up` of this data folder printed, None when none runs there."""
    file = (path or default_folder()) / "up.json"
    try:
        stack: dict[str, Any] = json.loads(file.read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return stack
