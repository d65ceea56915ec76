"""Draws the results of one run, or of two over each other, as a picture for a document.

python -m loadtest.report.draw storm.svg direct.json edge.json --names direct 'through Varnish'
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.report.pictures import open_streams, two_runs
from loadtest.results import read

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the picture; return 0, or 2 after saying what is wrong with the files."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.report.draw", description="Draw runs as SVG.")
    parser.add_argument("picture", type=Path, help="the SVG to write")
    parser.add_argument("results", type=Path, nargs="+", help="one or two files that a run wrote by --json")
    parser.add_argument("--names", nargs=2, metavar=("A", "B"), help="what the two runs are called")
    parser.add_argument("--title", default="", help="in place of the scenario's")
    given = parser.parse_args(arguments)
    if len(given.results) > 2:  # noqa: PLR2004 - a picture of more would be read by nobody
        parser.error("one or two results, no more")
    try:
        runs = [read(file) for file in given.results]
        if len(runs) == 1:
            drawn = open_streams(runs[0], title=given.title)
        else:
            names = given.names or [file.stem for file in given.results]
            drawn = two_runs(runs[0], runs[1], (names[0], names[1]), title=given.title)
        given.picture.write_text(drawn)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
