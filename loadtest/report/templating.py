"""Jinja2 with escaping, strict about names, and with figures in words as filters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.report import figures

__all__ = ["NO_BREAK", "templates"]

NO_BREAK: Final = "\N{NO-BREAK SPACE}"
FOLDER: Final = Path(__file__).parent / "templates"


def templates(*folders: Path) -> Environment:
    """Return the templates of `folders`, and ours after them (``parts.html`` has macros for all).

    Filters: ``count``, ``rate``, ``ms``, ``s``, ``data_size``, ``share``, ``cpu``, ``plain``; see `figures`.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "rate", "ms", "s", "data_size", "share", "cpu", "plain"):
        environment.filters[name] = _in_one_line(getattr(figures, name))
    return environment


def _in_one_line(write: Callable[[float | None], str]) -> Callable[[float | None], str]:
    """Return a filter whose words stay together: a line that begins with a unit cannot be read."""
    return lambda value: write(value).replace(" ", NO_BREAK)
