"""A scenario's document with the line of each of its keys, and another laid over it, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from loadtest.scenario.lines import Path

__all__ = ["BESIDE", "Document", "nested"]

BESIDE: Final = 0
"""The line of what was given beside the file."""

FLAT: Final = "thresholds"
"""The table whose keys are figures: with their dots, however they were written."""


@dataclass(frozen=True, slots=True)
class Document:
    """Tables as `tomllib` reads them, and the line of each path."""

    data: Mapping[str, Any]
    places: Mapping[Path, int]

    @classmethod
    def of(cls, data: Mapping[str, Any], places: Mapping[Path, int]) -> Self:
        """Return the document of `data`; figures written in parts (``delivery.p99_ms = …``) become one key."""
        found = dict(places)
        for path, line in places.items():
            if path[0] == FLAT:
                found.setdefault((FLAT, ".".join(map(str, path[1:]))), line)
        figures = data.get(FLAT)
        if isinstance(figures, Mapping):
            data = {**data, FLAT: {".".join(map(str, path)): value for path, value in leaves(figures)}}
        return cls(data, found)

    def line(self, path: Path) -> int:
        """Return the line of `path`, of the table around it where it is not there itself, 1 outside of all tables."""
        while path:
            if (line := self.places.get(path)) is not None:
                return line
            path = path[:-1]
        return 1

    def over(self, other: Document) -> Document:
        """Return this document with what `other` has: tables are merged, lists and values replaced.

        A threshold of this document that `other` has as ``false`` is left out.
        """
        replaced = {path for path, _ in leaves(other.data)}
        kept = {path: line for path, line in self.places.items() if not _is_within(path, replaced)}
        merged = _merged(self.data, other.data)
        before, after = self.data.get(FLAT), merged.get(FLAT)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            merged[FLAT] = {key: value for key, value in after.items() if value is not False or key not in before}
        return Document(merged, kept | dict(other.places))


def leaves(tables: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield each path that does not lead to a table with keys, and what is there."""
    for key, value in tables.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def nested(values: Mapping[str, Any]) -> Document:
    """Return the document of values that were given beside the file, by keys with dots into tables."""
    data: dict[str, Any] = {}
    for name, value in values.items():
        head, *rest = name.split(".", maxsplit=1) if name.startswith(f"{FLAT}.") else name.split(".")
        for key in reversed(rest):
            value = {key: value}  # noqa: PLW2901 - wrapped from the inside out
        data = _merged(data, {head: value})
    return Document.of(data, dict(_everything(data)))


def _everything(value: Any, above: Path = ()) -> Iterator[tuple[Path, int]]:
    match value:
        case Mapping():
            parts = list(value.items())
        case list() | tuple():
            parts = list(enumerate(value))
        case _:
            return
    for key, each in parts:
        yield (*above, key), BESIDE
        yield from _everything(each, (*above, key))


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _is_within(path: Path, tops: set[Path]) -> bool:
    return any(path[:length] in tops for length in range(1, len(path) + 1))
