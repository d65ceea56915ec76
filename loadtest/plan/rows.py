"""A table in words, the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.report.figures import NONE, count

__all__ = ["Rows", "counted_as", "money"]


@dataclass(frozen=True, slots=True)
class Rows:
    """One table; the first column names, the others are figures."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    about: str = ""
    prose: bool = False
    """Whether its cells are words instead of figures."""


def money(dollars: float | None) -> str:
    """Return dollars: ``$1,234``; below ten with cents."""
    if dollars is None:
        return NONE
    return f"${dollars:,.2f}" if abs(dollars) < 10 else f"${dollars:,.0f}"  # noqa: PLR2004 - where cents stop to count


def counted_as(number: float, one: str, many: str) -> str:
    """Return a number with what it is of: ``1 client``, ``2 clients``."""
    return f"{count(number)} {one if number == 1 else many}"
