"""The last good document on disk, so that an app starts with it when everything else is down.

One JSON file for each environment: what the document is, then the document itself. It names the environment by a
hash, never by its key. Nothing here waits for a network or for asyncio, and nothing raises for what a disk does; a
write takes a disk's time, so a client saves in a thread.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from sdk_client.errors import ConfigurationError
from sdk_client.locking import exclusive
from sdk_client.versions import MAX_VERSION

__all__ = ["FORMAT", "MAX_FILE", "Cached", "DiskCache", "read_whole"]

_log = logging.getLogger("sdk_client")

FORMAT: Final = 1

MAX_FILE: Final = 16 * 1024 * 1024
"""Bytes of a file that is read or written, as of a document that is fetched."""

PATIENCE: Final = 10.0
"""Seconds to wait for other processes that save the same environment."""

_ETAG: Final = re.compile(r"[\x20-\x7e\x80-\xff]{0,1024}")  # what may be sent back in a header

# Without O_NONBLOCK, a named pipe would wait for somebody to write into it. Windows knows O_BINARY only, and would end
# a file at its first Ctrl-Z.
_READING: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

Kind = Literal["flags", "environment"]


@dataclass(frozen=True, slots=True)
class Cached:
    """A document as the server answered it, with what its headers said; `version` is 0 where unknown."""

    kind: Kind
    version: int
    labelled: bool
    etag: str
    body: bytes


class DiskCache:
    """Keeps one environment's newest document in a file; safe with any number of threads and processes of a host.

    `path` is a file, or a folder that several environments may share: what is a folder, ends with a separator, or
    does not exist and has no suffix. Folders are made when something is saved. Who may write there decides which flags
    an app starts with, so it should be the app alone; what is made here is its user's only. Raises ConfigurationError
    for a path that cannot be one.
    """

    def __init__(self, path: os.PathLike[str] | str, key: str) -> None:
        self._environment = hashlib.sha256(f"flagstream cache {key}".encode()).hexdigest()[:32]
        self._path = _file_at(path, f"flagstream-{self._environment[:16]}.json")
        self._failing = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def load(self) -> Cached | None:
        """Return what was saved last; None where there is nothing, and with one warning where it is of no use."""
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("the flags kept in %s cannot be used: %s", self._path, _reason(error))
            return None

    def save(self, cached: Cached) -> bool:
        """Put `cached` into the file unless a newer version is there; return whether it was put there.

        A version of 0 says nothing about its age, so it takes the place of any. A disk that fails is logged once.
        Where the system has no file locks, two processes that save in the same moment may end with the older one.
        """
        try:
            content = self._written(cached)
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with exclusive(self._path.with_name(f"{self._path.name}.lock"), PATIENCE) as alone:
                if alone:
                    self._clear_up()
                if self._held() > cached.version > 0:
                    return False
                self._replace(content)
        except (OSError, ValueError, RecursionError) as error:
            if not self._failing:  # a full disk stays full for many saves
                self._failing = True
                _log.warning("the flags cannot be kept in %s: %s", self._path, _reason(error))
            return False
        self._failing = False
        return True

    def _read(self) -> Cached:
        match _parsed(read_whole(self._path)):
            case {"format": int(known)} if known != FORMAT:
                raise ValueError(f"it is of format {known}, not {FORMAT}")
            case {"environment": str(other)} if other != self._environment:
                raise ValueError("it belongs to another environment")
            case {
                "format": int(),
                "kind": "flags" | "environment" as kind,
                "environment": str(),
                "version": int(version),
                "labelled": bool(labelled),
                "etag": str(etag),
                "body": list() | dict() as body,
            } if 0 <= version < MAX_VERSION and _ETAG.fullmatch(etag):
                return Cached(kind, version, labelled, etag, json.dumps(body).encode())
        raise ValueError("it is damaged")

    def _held(self) -> int:
        try:
            return self._read().version
        except (OSError, ValueError, RecursionError):  # whatever is there, a good document is better
            return 0

    def _written(self, cached: Cached) -> bytes:
        saved = {
            "format": FORMAT,
            "kind": cached.kind,
            "environment": self._environment,
            "version": cached.version,
            "labelled": cached.labelled,
            "etag": cached.etag if _ETAG.fullmatch(cached.etag) else "",
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "body": _parsed(cached.body),
        }
        content = json.dumps(saved).encode()
        if len(content) > MAX_FILE:
            raise ValueError(f"it would be larger than {MAX_FILE} bytes")
        return content

    def _replace(self, content: bytes) -> None:
        handle, name = tempfile.mkstemp(prefix=self._prefix, suffix=".tmp", dir=self._path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                # Without it a power cut may leave the new name with nothing in it. The folder is not synced: then the
                # old file comes back, which is as good.
                os.fsync(handle)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _clear_up(self) -> None:
        # Who holds the lock is the only one to write, so these are of processes that died. Each kill would leave one.
        for entry in self._path.parent.iterdir():
            if entry.name.startswith(self._prefix) and entry.name.endswith(".tmp"):
                entry.unlink(missing_ok=True)

    @property
    def _prefix(self) -> str:
        return f".{self._path.name}."


def read_whole(path: Path) -> bytes:
    """Return a regular file's content; raises OSError, and ValueError beyond `MAX_FILE` bytes or for anything else."""
    handle = os.open(path, _READING)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is not a file")
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"it is larger than {MAX_FILE} bytes")
    return content


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None


def _file_at(path: Any, name: str) -> Path:
    text: object = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError("cache", "must be the path of a file or of a folder")
    file = Path(text).absolute()
    try:
        is_folder = text.endswith(("/", os.sep)) or file.is_dir() or not (file.suffix or file.exists())
    except OSError as error:
        raise ConfigurationError("cache", f"cannot be {text}: {_reason(error)}") from None
    return file / name if is_folder else file


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
