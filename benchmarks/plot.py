"""Draws the newest run of each row in ``results/`` as an SVG beside its figures.

    .venv/bin/python -m benchmarks.plot

Bars for rows that compare, lines for rows that go on for a time; no library is needed for either.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks.results import RESULTS

__all__ = ["bars", "lines", "main"]

BARS: Final[Mapping[str, tuple[str, ...]]] = {
    "deliver": ("CPU µs per delivery", "p99 ms"),
    "open": ("CPU µs per stream opened",),
    "memory": ("RSS KiB per stream",),
    "storm": ("all back s",),
    "restart": ("all back s",),
    "fair": ("p99 ms",),
    "hold": ("p50 ms", "p99 ms", "last ms"),
    "slow": ("p99 ms",),
}
"""Which columns of a row become a chart each; a bar is a line of the table."""

LINES: Final[Mapping[str, tuple[str, str, str]]] = {
    "soak": ("points", "p99_ms", "p99 ms from the announcement to the client"),
    "churn": ("rss", "rss", "RSS in bytes"),
}
"""Which series over time becomes a chart, which of its figures, and what that is."""

WIDTH: Final = 720
LEFT: Final = 290
ROW: Final = 26
HEIGHT: Final = 260
TOP: Final = 54
STYLE: Final = "font-family: sans-serif; font-size: 13px; fill: #222"
INK: Final = "#2f6f9f"
PALE: Final = "#a9b8c4"
"""What a server is compared with."""

REFERENCES: Final = {"floor": "floor: a C loop", "nchan": "nchan (nginx)", "plain": "plain sse-starlette"}


def bars(title: str, about: str, values: Sequence[tuple[str, float]]) -> str:
    """Return an SVG with one horizontal bar for each name and value, from 0 on."""
    most = max((value for _, value in values), default=0) or 1
    parts = _titles(title, about)
    for number, (name, value) in enumerate(values):
        y = TOP + number * ROW
        length = value / most * (WIDTH - LEFT - 80)
        ink = PALE if name in REFERENCES else INK
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(REFERENCES.get(name, name))}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{max(length, 1):.1f}" height="{ROW - 8}" fill="{ink}"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{value:.3g}</text>',
        ]
    return _svg(parts, TOP + 10 + len(values) * ROW)


def lines(title: str, about: str, points: Sequence[tuple[float, float]]) -> str:
    """Return an SVG of one line over seconds; the vertical axis begins at 0."""
    right = max((x for x, _ in points), default=0) or 1
    top = max((y for _, y in points), default=0) or 1
    across, down = WIDTH - 140, HEIGHT - TOP - 30
    base = TOP + down
    path = " ".join(f"{80 + x / right * across:.1f},{base - y / top * down:.1f}" for x, y in points)
    return _svg(
        [
            *_titles(title, about),
            f'<path d="M80 {TOP} V{base} H{80 + across}" stroke="#999" fill="none"/>',
            f'<text x="74" y="{TOP + 6}" text-anchor="end">{top:.4g}</text>',
            f'<text x="74" y="{base + 4}" text-anchor="end">0</text>',
            f'<text x="{80 + across}" y="{base + 20}" text-anchor="end">{right:.0f} s</text>',
            f'<polyline points="{path}" stroke="{INK}" stroke-width="2" fill="none"/>',
        ],
        HEIGHT,
    )


def _titles(title: str, about: str) -> list[str]:
    return [
        f'<text x="12" y="22" font-weight="bold">{escape(title)}</text>',
        f'<text x="12" y="40" font-size="11">{escape(about)}</text>',
    ]


def _svg(parts: Sequence[str], height: int) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" style="{STYLE}">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def draw(row: str, run: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the charts of one run into `folder` and return their files."""
    made = []
    first = run["columns"][0]
    if row == "hold":  # one line with several figures of one kind: a bar for each
        [line] = run["lines"]
        chart = bars("A broadcast", run["title"], [(name, float(line[name])) for name in BARS[row]])
        made.append(_written(folder / f"{row}.svg", chart))
    else:
        for column in BARS.get(row, ()):
            values = [(str(line[first]), float(line[column])) for line in run["lines"]]
            name = row if column == BARS[row][0] else f"{row} {column}".replace(" ", "-")
            made.append(_written(folder / f"{name}.svg", bars(column, run["title"], values)))
    if row in LINES:
        series, figure, what = LINES[row]
        points = [(float(point["s"]), float(point[figure])) for point in run["series"][series]]
        made.append(_written(folder / f"{row}.svg", lines(what, run["title"], points)))
    return made


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw what there is."""
    parser = argparse.ArgumentParser(description="Draw the newest run of each row as SVG.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    folder = parser.parse_args(arguments).results
    for row in (*BARS, *(row for row in LINES if row not in BARS)):
        file = folder / f"{row}.json"
        if file.exists():
            for made in draw(row, json.loads(file.read_text())[-1], folder):
                print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
