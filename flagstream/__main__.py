"""The `flagstream` command; `python -m flagstream` is the same."""

from __future__ import annotations

import sys

__all__ = ["main"]

OURS = {"flagstream", "publisher", "stream_server", "sdk_client", "loadtest", "cdn"}


def main() -> None:
    """Run the command line, or say which extra it needs: a bare install holds only the client."""
    try:
        from flagstream.cli import app  # noqa: PLC0415 - the import is what may fail
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in {
            "flagstream",
            "publisher",
            "stream_server",
            "sdk_client",
            "loadtest",
            "cdn",
        }:
            raise
        sys.exit(
            f"flagstream: the command line needs the package {error.name}: "
            "install it with pip install 'flagstream[embedded]'"
        )
    app()


if __name__ == "__main__":
    main()
