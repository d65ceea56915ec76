"""The line of every key of a TOML text, which `tomllib` does not tell.

It reads text that `tomllib` has accepted, so it need not know what is wrong, only where things begin; it follows TOML
1.0 (https://toml.io/en/v1.0.0) for tables, arrays of tables, dotted and quoted keys, and skips values.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

__all__ = ["Path", "lines"]

Path = tuple[str | int, ...]
"""Keys and, within arrays, indexes from 0: ``("clients", "mix", 0, "model")``."""

_BLANK: Final = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r'[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|\'[^\']*\'')
# Up to two quotes may stand right before the three that end a text of several lines.
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, at which each key, table and element of an array of a valid TOML text begins.

    A table that is only named by those within it is where the first of them is.
    """
    return _Reader(text.replace("\r\n", "\n")).read()


class _Reader:
    """A place in the text that moves on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._found: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        """Of arrays of tables, so far."""

    def read(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _skip(self, pattern: re.Pattern[str]) -> int:
        """Go past what matches here, if anything does, and return where that is."""
        if match := pattern.match(self._text, self._at):
            self._line += match[0].count("\n")
            self._at = match.end()
        return self._at

    def _header(self) -> Path:
        """Read ``[a.b]`` or ``[[a.b]]`` and return the table that it begins."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        line = self._line
        self._at += brackets
        *outer, last = self._keys()
        self._at += brackets
        table: Path = ()
        for key in outer:
            table = self._entered((*table, key))
            self._found.setdefault(table, line)
        table = (*table, last)
        if brackets == 1:
            self._found[table] = line
            return table
        self._found.setdefault(table, line)
        index = self._lengths.get(table, 0)
        self._lengths[table] = index + 1
        table = (*table, index)
        self._found[table] = line
        return table

    def _entered(self, table: Path) -> Path:
        """Return the table that a header's key stands for: of an array of tables the last."""
        self._found.setdefault(table, self._line)
        return (*table, self._lengths[table] - 1) if table in self._lengths else table

    def _keys(self) -> list[str]:
        """Read a key with its dots."""
        keys = []
        while True:
            self._skip(_SPACE)
            begin = self._at
            raw = self._text[begin : self._skip(_KEY)]
            keys.append(next(iter(tomllib.loads(f"{raw} = 0"))))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _pair(self, table: Path) -> None:
        """Read ``key = value``."""
        line = self._line
        for key in self._keys():
            table = (*table, key)
            self._found.setdefault(table, line)
        self._at += 1  # the sign
        self._skip(_SPACE)
        self._value(table)

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case '"' | "'":
                self._skip(_STRING)
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        index = 0
        while self._goes_on():
            self._found[*path, index] = self._line
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> None:
        while self._goes_on():
            self._pair(path)

    def _goes_on(self) -> bool:
        """Go past what opens, divides or closes an array or an inline table; say whether another element follows."""
        self._skip(_BLANK)
        if self._text[self._at] in "[{,":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] not in "]}":
            return True
        self._at += 1
        return False
