"""Curves over the seconds of a run as plain SVG, in colours that are readable on white and on dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from loadtest.report.words import printable

__all__ = ["Curve", "Panel", "clock", "picture", "ticks"]

WIDTH: Final = 820
LEFT: Final = 62
RIGHT: Final = 18
TOP: Final = 58
PANEL: Final = 190
ROW: Final = 20
"""Of the legend."""
BELOW: Final = 68
"""Between two panels: the lower one's title."""

TEXT: Final = "#727b86"
GRID: Final = "#727b8640"
RED: Final = "#dd363c"
INKS: Final = ("#3b82f6", "#df6a05", "#16a06a", "#c04ccc", "#0e9fb8", "#b58900", "#8b6cef", "#8a9099")
STYLE: Final = (
    "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:" + TEXT + "}"
    ".t{font-size:15px;font-weight:600}.n{font-weight:600}.h{font-size:13px;font-weight:600}"
    f".f{{fill:{RED};font-size:11px;font-weight:600}}"
)
POINTS: Final = (WIDTH - LEFT - RIGHT) // 2
"""Columns that a curve is thinned to; each keeps its first, least, greatest and last point."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line: its name, its moments in seconds, and a value for each; None breaks it."""

    name: str
    at: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes, y from 0 on."""

    title: str
    curves: Sequence[Curve]


def picture(
    title: str,
    about: str,
    panels: Sequence[Panel],
    marks: Sequence[tuple[float, str]] = (),
    outcomes: Mapping[str, str] | None = None,
) -> str:
    """Return an SVG of panels below each other over one axis of seconds, with marked moments.

    `outcomes` says of curves, by their names, what came of them: then each has a row of the legend to itself.
    """
    ends = [curve.at[-1] for panel in panels for curve in panel.curves if len(curve.at)]
    end = max(ends, default=0.0) or 1.0
    parts = [
        f'<text class="t" x="{LEFT - 40}" y="22">{_safe(title, 96)}</text>',
        f'<text x="{LEFT - 40}" y="41">{_safe(about, 128)}</text>',
    ]
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    inks = {name: INKS[number % len(INKS)] for number, name in enumerate(names)}
    several = any(len(panel.curves) > 1 for panel in panels)
    if not several:
        inks = dict.fromkeys(names, INKS[0])
    top = TOP
    if several:
        parts += _legend(inks, TOP + 4, outcomes or {})
        top += ROW * (len(inks) if outcomes else 1)
    top += 34
    for number, panel in enumerate(panels):
        parts += _panel(panel, top + number * (PANEL + BELOW), end, inks, marks, first=not number)
    height = top + len(panels) * (PANEL + BELOW) - BELOW + 34
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{_safe(title, 200)}">\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


def _panel(
    panel: Panel,
    top: float,
    end: float,
    inks: dict[str, str],
    marks: Sequence[tuple[float, str]],
    *,
    first: bool,
) -> list[str]:
    most = max((value for curve in panel.curves for value in curve.values if value is not None), default=0) or 1
    steps = ticks(most, 4)
    high = max(steps[-1], most)
    base = top + PANEL

    def across(moment: float) -> float:
        return LEFT + moment / end * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return base - value / high * PANEL

    parts = [f'<text class="h" x="{LEFT - 40}" y="{top - 22}">{_safe(panel.title, 80)}</text>']
    for step in steps:
        y = down(step)
        parts += [
            f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>',
            f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{step:,.10g}</text>',
        ]
    for moment in ticks(end, 8, sixty=True):
        if moment > end:
            break
        parts.append(f'<text x="{across(moment):.1f}" y="{base + 18:.1f}" text-anchor="middle">{clock(moment)}</text>')
    free = -math.inf
    for moment, name in marks:
        if not 0 <= moment <= end:
            continue
        x = across(moment)
        parts.append(f'<path d="M{x:.1f} {top - 4:.1f}V{base}" stroke="{RED}" stroke-dasharray="4 3"/>')
        told = printable(name, 48)
        wide = 6.2 * len(told)
        begin = min(x, WIDTH - RIGHT - wide)
        if first and begin > free:
            parts.append(f'<text class="f" x="{begin:.1f}" y="{top - 8:.1f}">{escape(told)}</text>')
            free = begin + wide + 6
    for number, curve in enumerate(panel.curves):
        ink = inks[curve.name]
        # The first is wide enough to be seen below one that runs the same way.
        width = 3.6 if not number and len(panel.curves) > 1 else 1.7
        for run in _runs(curve):
            points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in _thinned(run, end))
            if len(panel.curves) == 1 and len(run) > 1:
                first_x, last_x = across(run[0][0]), across(run[-1][0])
                parts.append(
                    f'<polygon points="{first_x:.1f},{base} {points} {last_x:.1f},{base}" fill="{ink}" opacity=".14"/>'
                )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="{width}"'
                ' stroke-linejoin="round"/>'
            )
    return parts


def _legend(inks: dict[str, str], y: float, outcomes: Mapping[str, str]) -> list[str]:
    parts, x = [], float(LEFT - 40)
    for name, ink in inks.items():
        told = printable(name, 48)
        outcome = f": {_safe(outcomes[name], 120)}" if name in outcomes else ""
        parts += [
            f'<rect x="{x:.0f}" y="{y - 9}" width="11" height="11" rx="3" fill="{ink}"/>',
            f'<text x="{x + 17:.0f}" y="{y + 1}"><tspan class="n">{escape(told)}</tspan>{outcome}</text>',
        ]
        if outcomes:
            y += ROW
        else:
            x += 17 + 7.2 * len(told) + 18
    return parts


def _runs(curve: Curve) -> list[list[tuple[float, float]]]:
    """Return the pieces of a curve that None does not break."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for at, value in zip(curve.at, curve.values, strict=False):
        if value is not None:
            pieces[-1].append((at, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _thinned(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        columns.setdefault(int(point[0] / end * POINTS), []).append(point)
    kept: list[tuple[float, float]] = []
    by_value: Callable[[tuple[float, float]], float] = lambda point: point[1]  # noqa: E731 - a key, twice
    for column in columns.values():
        kept += sorted({column[0], min(column, key=by_value), max(column, key=by_value), column[-1]})
    # Of three that are level, the middle one says nothing.
    return [
        point
        for number, point in enumerate(kept)
        if not (0 < number < len(kept) - 1 and kept[number - 1][1] == point[1] == kept[number + 1][1])
    ]


def ticks(most: float, count: int, *, sixty: bool = False) -> list[float]:
    """Return about `count` round steps from 0 up to `most`, the last not below it; of time with `sixty`."""
    rough = most / count
    if sixty and rough > 10:  # noqa: PLR2004 - below, seconds are counted in tens
        steps = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
        step = float(next((each for each in steps if each >= rough), 86_400 * math.ceil(rough / 86_400)))
    else:
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def clock(seconds: float) -> str:
    """Return a moment of a run as an axis has it: ``45 s``, ``1:30``, ``2:00:00``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _safe(text: str, most: int) -> str:
    return escape(printable(text, most))
