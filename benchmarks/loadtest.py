"""What the load test itself costs and whether it can be trusted: one command for each row.

    .venv/bin/python -m benchmarks.loadtest agrees                       # counts and latencies of two generators
    .venv/bin/python -m benchmarks.loadtest agrees --streams 19000       # as many as one process holds

Each prints a table, adds the run to ``benchmarks/results/<row>.json`` (``--no-record`` does not), and ends all it
started. The exit status is 1 when the generators did not count the same.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.command import Row, parser_of, run_row
from benchmarks.rows.generators import agrees

__all__ = ["ROWS", "main"]

ROWS: Final[dict[str, Row]] = {"agrees": agrees}

HELP: Final = {
    "streams": "streams that each generator holds",
    "versions": "versions that are announced to them",
    "rounds": "times that each generator has its turn; figures are medians",
    "server_name": "server that they are connected to",
    "names": "generators",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one row; return the exit status."""
    return run_row(vars(parser_of("benchmarks.loadtest", __doc__, ROWS, _add_options).parse_args(arguments)))


def _add_options(row: argparse.ArgumentParser, run: Row) -> None:
    for name, parameter in inspect.signature(run, eval_str=True).parameters.items():
        option, text = f"--{name.replace('_', '-')}", HELP[name]
        if name == "names":
            row.add_argument(option, nargs="+", default=list(parameter.default), help=text)
        else:
            row.add_argument(
                option, type=parameter.annotation, default=parameter.default, help=f"{text} ({parameter.default})"
            )


if __name__ == "__main__":
    sys.exit(main())
