"""Figures in words, the same in a terminal, on a page and in a comparison; what there is none of is a dash."""

from __future__ import annotations

from typing import Final

__all__ = ["NONE", "change", "count", "cpu", "data_size", "ms", "plain", "rate", "s", "share"]

NONE: Final = "–"
MINUTE: Final = 60
HOUR: Final = 3600


def _digits(value: float) -> str:
    """Return three digits that count, all of them before the point."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 99.95 else f"{value:.1f}" if size >= 9.995 else f"{value:.2f}"  # noqa: PLR2004 - where rounding adds a digit


def count(value: float | None) -> str:
    """Return a number of things: ``15,000``."""
    return NONE if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return how many a second: ``1,204/s``."""
    return NONE if value is None else f"{_digits(value) if value else 0}/s"


def ms(value: float | None) -> str:
    """Return milliseconds: ``3.42 ms``; from 1 s on as seconds."""
    if value is None:
        return NONE
    return s(value / 1e3) if value >= 999.5 else f"{_digits(value)} ms"  # noqa: PLR2004 - where rounding makes it one


def s(value: float | None) -> str:
    """Return seconds: ``12.3 s``; below one as milliseconds, from two minutes on as ``2 min 5 s``."""
    if value is None:
        return NONE
    if 0 < value < 0.9995:  # noqa: PLR2004 - the same
        return f"{_digits(value * 1e3)} ms"
    if value < 2 * MINUTE:
        return f"{_digits(value)} s"
    if value < 2 * HOUR:
        minutes, rest = divmod(round(value), MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(value / MINUTE), MINUTE)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def data_size(value: float | None) -> str:
    """Return bytes: ``1.50 KiB``, ``312 MiB``."""
    if value is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:  # noqa: PLR2004 - bytes in a KiB
            return f"{value:.0f} B" if unit == "B" else f"{_digits(value)} {unit}"
        value /= 1024
    return f"{_digits(value)} TiB"


def share(value: float | None) -> str:
    """Return a share (0 to 1) in percent: ``97.5 %``."""
    return NONE if value is None else f"{value * 100:.3g} %"


def cpu(value: float | None) -> str:
    """Return seconds of CPU: ``12.3 s``."""
    return NONE if value is None else f"{_digits(value)} s"


def plain(value: float | None) -> str:
    """Return a number of any kind, with four digits at most behind the comma."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004 - the same


def change(before: float | None, after: float | None) -> str:
    """Return by how much a figure changed, in percent, from three times on as a factor; a dash where nobody can say."""
    if before is None or after is None:
        return NONE
    if before == after:
        return "="
    if before == 0:
        return NONE
    if after / before >= 3:  # noqa: PLR2004 - percents above 200 are hard to read
        return f"×{_digits(after / before)}"
    if after and before / after >= 10:  # noqa: PLR2004 - and those below -90 say little
        return f"÷{_digits(before / after)}"
    return f"{(after / before - 1) * 100:+.1f} %"
