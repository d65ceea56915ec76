"""What streams cost and how they behave: one command for each row of the stream engine's targets.

    .venv/bin/python -m benchmarks.streams deliver
    .venv/bin/python -m benchmarks.streams memory
    .venv/bin/python -m benchmarks.streams open

Each starts the servers that it needs on free ports, puts load on them from C programs compiled when they are needed,
prints a table, adds the run to ``benchmarks/results/<row>.json`` (``--no-record`` does not), and ends all it started.
The exit status is 1 when something did not happen that should have: a stream that was not told, one cut, one lost.

``--servers`` takes names of ours, floor, nchan and plain; ``ours@/path/to/checkout`` is the server of another checkout,
to compare two states of the code in one run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.native_programs import NoCompilerError
from benchmarks.processes import EndedError
from benchmarks.results import RESULTS, Table, record
from benchmarks.rows.compare import deliver, memory_of_streams, open_streams
from benchmarks.servers_under_test import ALL, NotInstalledError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one row; return the exit status."""
    options = vars(_parser().parse_args(arguments))
    row, folder, keep = options.pop("run"), options.pop("results"), not options.pop("no_record")
    try:
        table: Table = row(**options)
    except (NoCompilerError, NotInstalledError, EndedError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(table.text())
    if keep:
        print(f"added to {record(table, folder)}")
    return 1 if table.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.streams", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the runs' figures")
    parser.add_argument("--no-record", action="store_true", help="print only")
    rows = parser.add_subparsers(required=True, metavar="ROW")
    for name, run in {"deliver": deliver, "open": open_streams, "memory": memory_of_streams}.items():
        row = rows.add_parser(name, help=_summary(run), description=_summary(run))
        row.add_argument("--streams", type=int, default=15_000)
        row.add_argument("--rounds", type=int, default={"deliver": 10, "open": 3, "memory": 1}[name])
        row.add_argument("--servers", nargs="+", default=list(ALL), metavar="SERVER")
        row.set_defaults(run=run)
    return parser


def _summary(run: object) -> str:
    return (run.__doc__ or "").split("\n", maxsplit=1)[0]


if __name__ == "__main__":
    sys.exit(main())
