"""How many streams one process can hold: each is an open file, and the system bounds those.

The limit is divided three ways: a fixed number for what the process opens itself, a share for requests that are no
streams and for the short streams that say "full", and the streams.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

__all__ = ["Capacity", "open_files", "raise_open_files", "reachable_files"]

AT_ONCE: Final = 48
"""Open files of a process from its start on, which have the lowest numbers: logs, versions, figures, NATS, sockets."""

LATER: Final = 176
"""Open files that it may need at any time: 128 connections to the upstream, 33 to Redis, some to reconnect."""

OTHERS: Final = 128
"""One descriptor in so many is kept for requests that are no streams, and for telling that there is no room."""

UNBOUNDED: Final = 1024 * 1024
"""Open files to ask for where the system names no limit; Linux's own bound, fs.nr_open, is this by default."""


def reachable_files() -> int:
    """Return the limit of open files that this process can raise itself to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft, UNBOUNDED) if hard == resource.RLIM_INFINITY else hard


def raise_open_files() -> int:
    """Raise the limit of open files of this process and those it starts as far as it goes, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS allows less than it says; what there is will do
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable_files(), hard))
    return open_files()


def open_files() -> int:
    """Return the limit of open files of this process as it is."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNBOUNDED if soft == resource.RLIM_INFINITY else soft


def _streams_within(files: int) -> int:
    own = min(AT_ONCE + LATER, files // 4)
    return max(files - own - max(files // OTHERS, 16), 1)


def _ceiling(files: int) -> int:
    """Return the descriptor number from which on all are kept for what the process opens itself."""
    return files - min(LATER, files // 5)


def _files_for(streams: int) -> int:
    """Return the smallest limit of open files that allows so many streams."""
    files = (streams + AT_ONCE + LATER) * OTHERS // (OTHERS - 1)
    while _streams_within(files) < streams:
        files += 1
    return files


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one process holds.

    `files` is its limit of open files, `streams` how many streams it admits, `ceiling` the descriptor number from
    which on it accepts no connection, `wanted` the setting `max_streams`.
    """

    files: int
    streams: int
    ceiling: int
    wanted: int = 0

    @classmethod
    def within(cls, files: int, max_streams: int = 0) -> Capacity:
        """Divide a limit of open files; `max_streams` 0 is as many streams as it allows."""
        allowed = _streams_within(files)
        streams = min(max_streams, allowed) if max_streams else allowed
        return cls(files=files, streams=streams, ceiling=_ceiling(files), wanted=max_streams)

    @property
    def shortage(self) -> str:
        """Say which limit keeps this below the setting, and how to raise it; empty where none does."""
        if self.wanted <= self.streams:
            return ""
        needed = _files_for(self.wanted)
        return (
            f"open files allow {self.streams} streams a process (the hard limit is {self.files}); use more "
            f"workers, or raise it to {needed} by LimitNOFILE={needed} in the systemd unit or `ulimit -n {needed}`"
        )
