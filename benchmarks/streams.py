"""What streams cost and how they behave: one command for each row of the stream engine's targets.

    .venv/bin/python -m benchmarks.streams deliver                        # CPU and latency of a delivery
    .venv/bin/python -m benchmarks.streams memory                         # RSS and PSS of a stream
    .venv/bin/python -m benchmarks.streams open                           # CPU of opening a stream
    .venv/bin/python -m benchmarks.streams storm                          # all gone at once, all back
    .venv/bin/python -m benchmarks.streams restart                        # the worker is killed, all back
    .venv/bin/python -m benchmarks.streams fair --streams 50000           # a small environment beside a large one
    .venv/bin/python -m benchmarks.streams hold --streams 100000          # then 1000000
    .venv/bin/python -m benchmarks.streams slow                           # readers that do not read
    .venv/bin/python -m benchmarks.streams churn                          # 1,000,000 opens and closes
    .venv/bin/python -m benchmarks.streams soak                           # 30 minutes of 2 s streams

Each starts the servers that it needs on free ports, puts load on them from C programs compiled when they are needed,
prints a table, adds the run to ``benchmarks/results/<row>.json`` (``--no-record`` does not), and ends all it started.
The exit status is 1 when something did not happen that should have: a stream that was not told, one cut, one lost.

``--servers`` takes names of ours, floor, nchan and plain; ``ours@/path/to/checkout`` is the server of another checkout,
to compare two states of the code in one run.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.native_programs import NoCompilerError
from benchmarks.processes import EndedError
from benchmarks.results import RESULTS, Table, record
from benchmarks.rows.churn import churn
from benchmarks.rows.compare import deliver, memory_of_streams, open_streams
from benchmarks.rows.fair import fair
from benchmarks.rows.hold import hold
from benchmarks.rows.restart import restart
from benchmarks.rows.slow import slow
from benchmarks.rows.soak import soak
from benchmarks.rows.storm import storm
from benchmarks.servers_under_test import NotInstalledError

__all__ = ["ROWS", "main"]

ROWS: Final[dict[str, Callable[..., Table]]] = {
    "deliver": deliver,
    "memory": memory_of_streams,
    "open": open_streams,
    "storm": storm,
    "restart": restart,
    "fair": fair,
    "hold": hold,
    "slow": slow,
    "churn": churn,
    "soak": soak,
}

HELP: Final = {
    "streams": "streams of the (large) environment",
    "rounds": "times that it is measured; figures are medians",
    "servers": "servers that are compared",
    "server_name": "server that is measured",
    "workers": "worker processes; 0 takes as many as the limit of open files asks for",
    "seconds": "the longest that it may take, or how long it goes on",
    "at_once": "handshakes under way, or streams open, at a time",
    "small": "streams of the small environment",
    "readers": "how many are slow",
    "min_interval": "the server's min_interval in seconds",
    "flood": "broadcasts that fill the buffers of those that do not read, before it is measured",
    "opens": "streams that are opened and closed",
    "pace": "streams opened a second at most, 0 for no limit",
    "period": "seconds between two checks that every client is up to date",
}


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
    for name, run in ROWS.items():
        row = rows.add_parser(name, help=_summary(run), description=_summary(run))
        row.set_defaults(run=run)
        for option, parameter in inspect.signature(run, eval_str=True).parameters.items():
            _add_option(row, option, parameter)
    return parser


def _add_option(row: argparse.ArgumentParser, name: str, parameter: inspect.Parameter) -> None:
    """Offer a parameter of a row as an option of its command, with the same default."""
    default, text = parameter.default, HELP[name]
    option = "--server" if name == "server_name" else f"--{name.replace('_', '-')}"
    if name == "servers":
        row.add_argument(option, nargs="+", default=list(default), metavar="SERVER", help=text)
    else:
        row.add_argument(option, dest=name, type=parameter.annotation, default=default, help=f"{text} ({default})")


def _summary(run: object) -> str:
    return (run.__doc__ or "").split("\n", maxsplit=1)[0]


if __name__ == "__main__":
    sys.exit(main())
