"""A curve in blocks, for a terminal: it grows from left to right as a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["Sparkline"]

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
STAIRS: Final = " ..::||##"
"""The same where a terminal knows ASCII only."""


class Sparkline:
    """One value for each column of `width`: of its part of `total` seconds the one that `keep` chooses; or none.

    Where samples are further apart than columns, a value holds until the next sample.

    It looks at each value once, so a run of days costs no more to show than one of minutes.
    """

    def __init__(self, keep: Callable[[float, float], float] = max) -> None:
        self._keep = keep
        self.columns: list[float | None] = []
        self._looked_at = 0
        self._reached = 0
        self._total = 0.0

    def follow(self, at: Sequence[float], values: Sequence[float | None], total: float, width: int) -> None:
        """Take in what came since the last time; another `width` or `total` begins anew."""
        if len(self.columns) != width or self._total != total:
            self.columns, self._looked_at, self._reached, self._total = [None] * width, 0, 0, total
        for number in range(self._looked_at, min(len(at), len(values))):
            value = values[number]
            self._looked_at = number + 1
            column = self.column(at[number])
            for between in range(self._reached + 1, column):
                self.columns[between] = self.columns[self._reached]
            self._reached = column
            if value is None:
                continue
            held = self.columns[column]
            self.columns[column] = value if held is None else self._keep(held, value)

    def column(self, moment: float) -> int:
        """Return the column that a moment of the run is in."""
        width = len(self.columns)
        return max(0, min(width - 1, int(moment / self._total * width))) if self._total else 0

    def rows(self, height: int, *, ascii_only: bool = False) -> list[str]:
        """Return `height` lines of blocks, the topmost first; what is not 0 is never invisible."""
        steps = STAIRS if ascii_only else BLOCKS
        most = max((value for value in self.columns if value is not None), default=0) or 1
        levels = [
            0 if value is None or value <= 0 else max(1, round(value / most * height * 8)) for value in self.columns
        ]
        return [
            "".join(steps[max(0, min(8, level - 8 * row))] for level in levels) for row in range(height - 1, -1, -1)
        ]
