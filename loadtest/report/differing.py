"""What two runs did not have in common: scenario, machine, versions, settings, and how they went."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from loadtest.results import Results

__all__ = ["Difference", "differences"]

ENTRY: Final = re.compile(r"(.*?\[[^]]*\])\.")
"""A table in a list of them, as ``timeline[2]`` of ``timeline[2].at``."""

IGNORED: Final = frozenset(
    {"moment", "command", "began", "started", "finished", "when", "date", "commit", "load_average"}
)
"""Parts of the provenance that differ between any two runs, or that say nothing about what was measured."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the two runs did not have in common; None where one has none of it."""

    of: Literal["scenario", "provenance", "run"]
    name: str
    a: str | None
    b: str | None


def differences(a: Results, b: Results) -> Iterator[Difference]:
    """Yield what two runs did not have in common, of how they were made and of how they went."""
    if a.name != b.name:
        yield Difference("run", "name", a.name, b.name)
    for name, one, other in (
        ("verdict", a.verdict, b.verdict),
        ("the generator was the limit", _yes(a.generator.was_the_limit), _yes(b.generator.was_the_limit)),
    ):
        # Two interrupted runs are as little to be compared as one.
        if one != other or one in {"interrupted", "yes"}:
            yield Difference("run", name, one, other)
    if a.generator.shared_cores != b.generator.shared_cores:
        yield Difference(
            "run",
            "server and generator used up the cores that they shared",
            _yes(a.generator.shared_cores),
            _yes(b.generator.shared_cores),
        )
    yield from _of_tables("scenario", a.scenario, b.scenario, frozenset({"title", "about", "thresholds"}))
    yield from _of_tables("provenance", a.provenance, b.provenance, IGNORED)


def _of_tables(
    of: Literal["scenario", "provenance"], a: Mapping[str, Any], b: Mapping[str, Any], ignored: frozenset[str]
) -> Iterator[Difference]:
    ours, theirs = dict(_flat(a)), dict(_flat(b))
    entries = dict.fromkeys(found[1] for found in map(ENTRY.match, ours | theirs) if found)
    only = {entry: (_entry(ours, entry), _entry(theirs, entry)) for entry in entries}
    # What only one has of a list of tables is one difference, not as many as it has keys.
    only = {entry: each for entry, each in only.items() if None in each}
    for name in ours | theirs:
        if (found := ENTRY.match(name)) and found[1] in only:
            continue
        if name.split(".")[0] in ignored or name.split(".")[-1] in ignored & IGNORED:
            continue
        if ours.get(name) != theirs.get(name):
            yield Difference(of, name, ours.get(name), theirs.get(name))
    for entry, (one, other) in only.items():
        yield Difference(of, entry, one, other)


def _entry(values: Mapping[str, str], entry: str) -> str | None:
    """Return what a table of a list says, without what it leaves off; None where there is no such table."""
    of = {name.removeprefix(f"{entry}."): value for name, value in values.items() if name.startswith(f"{entry}.")}
    told = [f"{key} {value}" for key, value in of.items() if key != "name" and value not in {"0", "0.0 0.0", "false"}]
    return ", ".join(told) if of else None


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the plain values of nested tables and lists by their paths; ``3`` and ``3.0`` are the same, "" is none."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, 1):
            # By its name where it has one: groups of clients are the same in whatever order they stand.
            yield from _flat(each, f"{path}[{(isinstance(each, Mapping) and each.get('name')) or number}]")
    elif isinstance(value, list | tuple):
        if value:
            yield path, " ".join(str(each) for each in value)
    elif isinstance(value, bool):  # as TOML has it
        yield path, str(value).lower()
    elif isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - whole numbers are exact
        yield path, str(int(value))
    elif value is not None and value != "":
        yield path, str(value)


def _yes(value: bool) -> str:  # noqa: FBT001 - a word for it
    return "yes" if value else "no"
