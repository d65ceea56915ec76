"""`flagstream loadtest compare`: two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flagstream.cli.failure import failure
from flagstream.cli.loadtest.writing import STDOUT, check_distinct, check_writable, write_atomically

if TYPE_CHECKING:
    from loadtest.results import Results

__all__ = ["compare"]

Before = Annotated[Path, typer.Argument(metavar="A", help="What --json of a run wrote.")]
After = Annotated[Path, typer.Argument(metavar="B", help="The same of another run, which is held against it.")]


def compare(
    a: Before,
    b: After,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparison as a page, too; - is standard output.")
    ] = None,
) -> None:
    """Show what changed from run A to run B: how they were made, then every figure."""
    from flagstream.cli.loadtest.showing import Enduring  # noqa: PLC0415 - each command loads only what it runs
    from loadtest.report.comparing import compared  # noqa: PLC0415 - the same
    from loadtest.report.comparing_page import comparison_page  # noqa: PLC0415 - the same
    from loadtest.report.comparing_text import comparison_text  # noqa: PLC0415 - the same

    check_writable(html, "--html")
    for path in (a, b):
        check_distinct(**{"--html": html, "FILE": path})
    found = [_read(path) for path in (a, b)]
    labels = (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))
    comparison = compared(found[0], found[1], labels)
    Enduring(stderr=html == STDOUT, highlight=False).print(comparison_text(comparison))
    if html is not None:
        write_atomically(html, comparison_page(comparison))


def _read(path: Path) -> Results:
    from loadtest.results import read  # noqa: PLC0415 - see above

    try:
        return read(path)
    except OSError as error:
        raise failure(f"{path} cannot be read: {error.strerror or error}", status=2) from None
    except ValueError as error:
        raise failure(str(error), status=2) from None
