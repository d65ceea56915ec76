"""What clients do when things go wrong, side by side, and what ours cost.

    .venv/bin/python -m benchmarks.clients faults     # ours and the published ones in one fault script, 10 minutes
    .venv/bin/python -m benchmarks.clients faults --quick --only FlagClient "Flagsmith Python 6.3"
    .venv/bin/python -m benchmarks.clients table      # the newest run of each client, as the table in the docs
    .venv/bin/python -m benchmarks.clients ends       # how soon each comes back, by how its stream ended, 20 minutes
    .venv/bin/python -m benchmarks.clients crowd      # CPU and memory of 1,000 FlagClients in one process
    .venv/bin/python -m benchmarks.clients imports    # time to import, beside httpx and Flagsmith's
    .venv/bin/python -m benchmarks.clients size       # the wheel, and what an app installs with it

Each starts what it needs on free ports, prints a table, adds the run to ``benchmarks/results/client-<row>.json``
(``--no-record`` does not), and ends all it started. The exit status is 1 when something did not happen that should
have. The published JavaScript client and Chromium are what ``scripts/servers`` installs; an older Python SDK needs
``python3 -m venv .venv/flagsmith-python-4 && .venv/flagsmith-python-4/bin/pip install 'flagsmith==4.*'``, the Go SDK
needs Go 1.22 and ``go -C benchmarks/faulty/programs/flagsmith_go build -o $PWD/.venv/flagsmith-go``. A client that is
not installed is left out, and what it needs is said.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.command import Row, parser_of, run_row
from benchmarks.results import RESULTS
from benchmarks.rows.client_crowd import crowd
from benchmarks.rows.client_ends import ends
from benchmarks.rows.client_faults import faults, newest, side_by_side
from benchmarks.rows.client_weight import imports, size

__all__ = ["ROWS", "main"]

ROWS: Final[dict[str, Row]] = {"faults": faults, "ends": ends, "crowd": crowd, "imports": imports, "size": size}

HELP: Final = {
    "only": "clients to run, all of them by default",
    "quick": "a few phases only",
    "clients": "FlagClients in one process",
    "rounds": "times that it is measured; figures are medians",
    "seconds": "how long clients are watched",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one row, or print the newest table; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["table"]:
        return _print_table(given[1:])
    return run_row(vars(parser_of("benchmarks.clients", __doc__, ROWS, _add_options).parse_args(given)))


def _print_table(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clients table", description="Print each client's newest run."
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the runs' figures")
    file = parser.parse_args(arguments).results / "client-faults.json"
    if not file.exists():
        print(f"benchmarks: {file} is not there; run `python -m benchmarks.clients faults`", file=sys.stderr)
        return 1
    print(side_by_side(newest(json.loads(file.read_text()))))
    return 0


def _add_options(row: argparse.ArgumentParser, run: Row) -> None:
    """Offer every parameter of a row as an option of its command, with the same default."""
    for name, parameter in inspect.signature(run).parameters.items():
        option, default, text = f"--{name}", parameter.default, HELP[name]
        if isinstance(default, bool):
            row.add_argument(option, action="store_true", help=text)
        elif isinstance(default, tuple):
            row.add_argument(option, nargs="+", default=default, choices=default, metavar="CLIENT", help=text)
        else:
            row.add_argument(option, type=type(default), default=default, help=f"{text} ({default})")


if __name__ == "__main__":
    sys.exit(main())
