"""What the commands of the benchmarks share: a subcommand for each row, whose table is printed and kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.native_programs import NoCompilerError
from benchmarks.processes import EndedError
from benchmarks.results import RESULTS, Table, record
from benchmarks.servers_under_test import NotInstalledError

__all__ = ["Row", "parser_of", "run_row"]

Row = Callable[..., Table]


def parser_of(
    program: str,
    description: str | None,
    rows: Mapping[str, Row],
    add_options: Callable[[argparse.ArgumentParser, Row], None],
) -> argparse.ArgumentParser:
    """Return the parser of ``python -m program``; `add_options` gives each row the options of its own."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the runs' figures")
    parser.add_argument("--no-record", action="store_true", help="print only")
    subparsers = parser.add_subparsers(required=True, metavar="ROW")
    for name, run in rows.items():
        summary = (run.__doc__ or "").split("\n", maxsplit=1)[0]
        row = subparsers.add_parser(name, help=summary, description=summary)
        row.set_defaults(run=run)
        add_options(row, run)
    return parser


def run_row(options: dict[str, Any]) -> int:
    """Run the row that was parsed, with its options; return the exit status."""
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
