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
from collections.abc import Sequence
from typing import Final

from benchmarks.command import Row, parser_of, run_row
from benchmarks.rows.churn import churn
from benchmarks.rows.compare import deliver, memory_of_streams, open_streams
from benchmarks.rows.fair import fair
from benchmarks.rows.hold import hold
from benchmarks.rows.restart import restart
from benchmarks.rows.slow import slow
from benchmarks.rows.soak import soak
from benchmarks.rows.storm import storm

__all__ = ["ROWS", "main"]

ROWS: Final[dict[str, Row]] = {
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
    return run_row(vars(parser_of("benchmarks.streams", __doc__, ROWS, _add_options).parse_args(arguments)))


def _add_options(row: argparse.ArgumentParser, run: Row) -> None:
    for option, parameter in inspect.signature(run, eval_str=True).parameters.items():
        _add_option(row, option, parameter)


def _add_option(row: argparse.ArgumentParser, name: str, parameter: inspect.Parameter) -> None:
    """Offer a parameter of a row as an option of its command, with the same default."""
    default, text = parameter.default, HELP[name]
    option = "--server" if name == "server_name" else f"--{name.replace('_', '-')}"
    if name == "servers":
        row.add_argument(option, nargs="+", default=list(default), metavar="SERVER", help=text)
    else:
        row.add_argument(option, dest=name, type=parameter.annotation, default=default, help=f"{text} ({default})")


if __name__ == "__main__":
    sys.exit(main())
