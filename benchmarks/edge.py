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
from collections.abc import Sequence
from typing import Final

from benchmarks.command import Row, parser_of, run_row
from benchmarks.rows.edge_fan_out import environments, fan_out, threads
from benchmarks.rows.edge_faults import ends, killed
from benchmarks.rows.edge_refetch import refetch

__all__ = ["ROWS", "main"]

ROWS: Final[dict[str, Row]] = {
    "fan-out": fan_out,
    "threads": threads,
    "environments": environments,
    "refetch": refetch,
    "killed": killed,
    "ends": ends,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one row; return the exit status."""
    options = vars(parser_of("benchmarks.edge", __doc__, ROWS, _add_options).parse_args(arguments))
    if shutil.which("varnishd") is None:
        print("benchmarks: varnishd is not installed; on Debian: apt-get install varnish", file=sys.stderr)
        return 1
    return run_row({name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})


def _add_options(row: argparse.ArgumentParser, run: Row) -> None:
    """Offer every parameter of a row as an option of its command, with the same default."""
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


if __name__ == "__main__":
    sys.exit(main())
