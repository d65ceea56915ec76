"""Words of others in a terminal: titles, errors and names come from files and servers, and may hold anything."""

from __future__ import annotations

from typing import Final

__all__ = ["printable"]

MOST: Final = 300


def printable(text: str, most: int = MOST) -> str:
    """Return a text in one line, at most `most` characters long, that no terminal takes for a command."""
    line = " ".join(text.split())
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
