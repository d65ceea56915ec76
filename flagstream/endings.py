"""How processes end: never later than the one that started them, and in words."""

from __future__ import annotations

import ctypes
import signal
import sys

__all__ = ["die_with_parent", "ending"]

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def die_with_parent(sig: signal.Signals) -> None:
    """Have the kernel send this process `sig` when whoever started it goes, even by kill -9; for `preexec_fn`.

    So no port stays taken (prctl(2)). Elsewhere than on Linux, children outlive such a parent, and that is the loss.
    """
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, sig)


def ending(status: int) -> str:
    """Return how a process ended by its return code: negative ones are signals (`subprocess.Popen.returncode`)."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # between SIGRTMIN and SIGRTMAX they have none
        name = f"signal {-status}"
    return f"was killed by {name}"
