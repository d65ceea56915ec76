"""A row's figures: printed as a table, and kept in ``results/<row>.json``, the newest run last."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtest.machine import described

__all__ = ["RESULTS", "Table", "record"]

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Table:
    """What one run of a row measured.

    `conditions` are what it ran with (streams, lifetime, heartbeat, …); `lines` map each column to a figure; `series`
    are raw points for plots, by name; `faults` say what went wrong, so that a figure without them can be trusted.
    """

    row: str
    title: str
    conditions: Mapping[str, object]
    columns: Sequence[str]
    lines: Sequence[Mapping[str, object]]
    target: str = ""
    series: Mapping[str, Sequence[object]] = field(default_factory=dict)
    faults: Sequence[str] = ()

    def text(self) -> str:
        """Return the table in Markdown, with its conditions below it."""
        cells = [list(self.columns), *([_shown(line.get(name, "–")) for name in self.columns] for line in self.lines)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        head, *body = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        rule = "|".join("-" * (width + 2) for width in widths)
        conditions = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.conditions.items())
        parts = [f"{self.title}\n", f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in body), f"\n{conditions}"]
        if self.target:
            parts.append(f"target: {self.target}")
        parts.extend(f"FAULT: {fault}" for fault in self.faults)
        return "\n".join(parts)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
    return str(value)


def record(table: Table, folder: Path = RESULTS) -> Path:
    """Add a run to its row's file and return the file."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{table.row}.json"
    runs: list[Any] = json.loads(file.read_text()) if file.exists() else []
    runs.append({"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": described(), **asdict(table)})
    file.write_text(json.dumps(runs, indent=1) + "\n")
    return file
