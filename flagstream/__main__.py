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
    app()


@contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Let a Ctrl-C end the process as it ends others; Python would print where it was in its imports."""
    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:  # not where whoever started us had it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    main()
