"""The `flagstream` command; `python -m flagstream` is the same."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["main"]

OURS = {"flagstream", "publisher", "stream_server", "sdk_client", "loadtest", "cdn"}


def main() -> None:
    """Run the command line, or say which extra it needs: a bare install holds only the client."""
    try:
        with _quiet_interrupt():
            from flagstream.cli import app  # noqa: PLC0415 - the import is what may fail
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in OURS:
            raise
        sys.exit(
            f"flagstream: the command line needs the package {error.name}: "
            "install it with pip install 'flagstream[embedded]'"
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a dash in a terminal of few characters is no reason to fail
    try:
        app()
    finally:
        _end_by_interrupts()  # Python would raise the last one among what it tears down, and print where


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Let a Ctrl-C end the process as it ends others; Python would print where it was in its imports."""
    changed = _end_by_interrupts()
    try:
        yield
    finally:
        if changed:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_by_interrupts() -> bool:
    """Have SIGINT end the process from now on, without a word; say whether that is new."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # whoever started us had it ignored
        return False
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return True


if __name__ == "__main__":
    main()
