"""What an edge costs and how it behaves: real varnishd, real stream server, clients from C programs.

    .venv/bin/python -m benchmarks.edge fan-out         # clients through Varnish and without it
    .venv/bin/python -m benchmarks.edge threads         # memory of a client, by what a thread is given
    .venv/bin/python -m benchmarks.edge environments    # 10,000 clients of 10 environments
    .venv/bin/python -m benchmarks.edge refetch         # a document that everybody fetches at once
    .venv/bin/python -m benchmarks.edge killed          # the origin is killed, and comes back
    .venv/bin/python -m benchmarks.edge ends            # streams that end early, naive and guarded

Each starts what it needs on free ports, prints a table, adds the run to ``benchmarks/results/edge-<row>.json``
(``--no-record`` does not), and ends all it started. The exit status is 1 when something did not
happen that should have.
"""

from __future__ import annotations

import argparse
import inspect
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.native_programs import NoCompilerError
from benchmarks.processes import EndedError
from benchmarks.results import RESULTS, Table, record
from benchmarks.rows.edge_fan_out import environments, fan_out, threads
from benchmarks.rows.edge_faults import ends, killed
from benchmarks.rows.edge_refetch import refetch
from benchmarks.servers_under_test import NotInstalledError

__all__ = ["ROWS", "main"]

ROWS: Final[dict[str, Callable[..., Table]]] = {
    "fan-out": fan_out,
    "threads": threads,
    "environments": environments,
    "refetch": refetch,
    "killed": killed,
    "ends": ends,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one row; return the exit status."""
    options = vars(_parser().parse_args(arguments))
    row, folder, keep = options.pop("run"), options.pop("results"), not options.pop("no_record")
    if shutil.which("varnishd") is None:
        print("benchmarks: varnishd is not installed; on Debian: apt-get install varnish", file=sys.stderr)
        return 1
    try:
        table: Table = row(**{name: _given(value) for name, value in options.items()})
    except (NoCompilerError, NotInstalledError, EndedError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(table.text())
    if keep:
        print(f"added to {record(table, folder)}")
    return 1 if table.faults else 0


def _given(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the runs' figures")
    parser.add_argument("--no-record", action="store_true", help="print only")
    rows = parser.add_subparsers(required=True, metavar="ROW")
    for name, run in ROWS.items():
        summary = (run.__doc__ or "").split("\n", maxsplit=1)[0]
        row = rows.add_parser(name, help=summary, description=summary)
        row.set_defaults(run=run)
        for option, parameter in inspect.signature(run).parameters.items():
            default = parameter.default
            several = isinstance(default, tuple)
            row.add_argument(
                f"--{option.replace('_', '-')}",
                type=type(default[0] if several else default),
                nargs="+" if several else None,
                default=default,
                help=f"({default})",
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
