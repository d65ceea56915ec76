"""Series of long runs with fewer moments, so that a page stays small, without hiding what was worst between two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from loadtest.results import Series

__all__ = ["MOST", "thinned"]

MOST: Final = 1300
"""Moments that a page has at most; more than a wide screen can tell apart."""

Kept = Callable[[Sequence[Any]], Any]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


LEAST: Final = frozenset({"open", "open_by_group"})
MEANS: Final = frozenset({"opens_per_s", "requests_per_s", "losses_per_s", "events_per_s", "fetches_per_s", "cpu"})


def thinned(series: Series, most: int = MOST) -> tuple[Series, int]:
    """Return a series of at most `most` moments, and how many of the run's moments each of them stands for.

    Streams open keep the least of them, rates and CPU the mean, all else the most; a moment is the last of its own.
    """
    per = -(-len(series.at_s) // most) or 1
    if per == 1:
        return series, 1
    thin: dict[str, Any] = {}
    for name in series.__struct_fields__:
        values = getattr(series, name)
        keep: Kept = (
            (lambda part: part[-1]) if name == "at_s" else min if name in LEAST else _mean if name in MEANS else max
        )
        if isinstance(values, dict):
            thin[name] = {key: _each(column, per, keep) for key, column in values.items()}
        else:
            thin[name] = _each(values, per, keep)
    return msgspec.structs.replace(series, **thin), per


def _each(values: Sequence[Any], per: int, keep: Kept) -> list[Any]:
    parts = (
        [value for value in values[start : start + per] if value is not None] for start in range(0, len(values), per)
    )
    return [keep(part) if part else None for part in parts]
