"""What outlives the code that uses a client: a process that forks, and one that exits."""

from __future__ import annotations

import atexit
import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Resident", "look_after"]


class Resident(Protocol):
    """Something with threads, which a fork does not copy, and with connections, which it does."""

    def after_fork(self) -> None:
        """Take that this is a copy in a new process, made by a thread that may not be the main one."""

    def at_exit(self) -> None:
        """Stop, within a moment: the interpreter is about to exit."""


_residents: WeakSet[Resident] = WeakSet()


def look_after(resident: Resident) -> None:
    """Tell `resident` of forks and of the interpreter's exit as long as it lives."""
    _residents.add(resident)


def _after_fork() -> None:
    for resident in [*_residents]:
        resident.after_fork()


def _at_exit() -> None:
    for resident in [*_residents]:
        resident.at_exit()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
