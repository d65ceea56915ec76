"""One run with all its parts, and the file that it is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from loadtest.results.around import Fetches, Generator, Process, Publishing, Requests
from loadtest.results.clients import Delivery, Fault, GroupResults, Readmission, Staleness, Streams
from loadtest.results.parts import Seconds
from loadtest.results.series import Series

__all__ = ["Results", "Threshold", "read", "written"]

FORMAT: Final = 1


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of the scenario; `value` null fails it."""

    figure: str
    """A path into these results, as ``delivery.p99_ms``."""
    condition: str
    """As ``<= 500``."""
    value: float | None
    passed: bool


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    format: int = FORMAT
    name: str
    title: str = ""
    verdict: Literal["passed", "failed", "interrupted"]
    """`failed` if any threshold failed or the run could not be made as planned; see `reasons`."""
    reasons: list[str] = []
    warnings: list[str] = []
    thresholds: list[Threshold] = []
    seconds: float = 0.0
    """How long the run took, from the first stream asked for."""
    streams: Streams = Streams()
    delivery: Delivery = Delivery()
    opening: Seconds = Seconds()
    gap: Seconds = Seconds()
    """From the clean end of a stream to the client's next live one; by its model, a client may wish to wait."""
    readmission: Readmission = Readmission()
    staleness: Staleness = Staleness()
    lost: int = 0
    """Clients that, at the end of the run, still tried to follow and were not at the newest version."""
    duplicates: int = 0
    out_of_order: int = 0
    invalid: int = 0
    faults: list[Fault] = []
    requests: Requests = Requests()
    fetches: Fetches = Fetches()
    publishing: Publishing = Publishing()
    errors: dict[str, int] = {}
    groups: list[GroupResults] = []
    server: list[Process] = []
    """By program, where the stack is local."""
    generator: Generator = Generator()
    series: Series = Series()
    scenario: dict[str, Any] = {}
    """As it was run, overrides applied."""
    provenance: dict[str, Any] = {}
    """Versions, machine, settings, command, moment."""


class _Format(msgspec.Struct):
    format: int = FORMAT


def written(results: Results) -> bytes:
    """Return the JSON of results, indented."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def read(path: Path) -> Results:
    """Return the results in a file; raises OSError, and ValueError with what is wrong with it."""
    data = path.read_bytes()
    try:
        found = msgspec.json.decode(data, type=_Format).format  # first: what else another one has may be anything
        if found == FORMAT:
            return msgspec.json.decode(data, type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} holds no results of a load test: {error}") from None
    raise ValueError(f"{path} has format {found}; this version reads format {FORMAT}")
