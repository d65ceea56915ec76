"""A comparison in a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadtest.report.comparing import Change, Comparison
from loadtest.report.figures import NONE
from loadtest.report.words import printable

__all__ = ["comparison_text"]

NAME: Final = 18
"""Characters of a name above which columns are called A and B: cut off, two paths of one file name are the same."""


def comparison_text(comparison: Comparison) -> RenderableType:
    """Return what differs between the runs, then every figure with its change, the better one marked."""
    parts: list[RenderableType] = []
    name_a, name_b = (printable(name) for name in comparison.names)
    if max(len(name_a), len(name_b)) > NAME:
        parts.append(Text(f"A  {name_a}\nB  {name_b}"))
        name_a, name_b = "A", "B"
    if comparison.differences:
        table = _table("They were not made alike: look here first", "", name_a, name_b)
        table.title_style = "bold yellow"
        for each in comparison.differences:
            table.add_row(
                Text(printable(f"{each.of}: {each.name}" if each.of != "run" else each.name)),
                Text(NONE if each.a is None else printable(each.a), overflow="fold"),
                Text(NONE if each.b is None else printable(each.b), overflow="fold"),
            )
        parts.append(table)
    else:
        parts.append(Text("Both were made alike: scenario, machine, versions and settings are the same.", "green"))
    parts.append(_changes("", name_a, name_b, [*comparison.changes, *comparison.servers]))
    if len(comparison.groups) > 1:
        parts += [_changes(printable(name, 60), name_a, name_b, changes) for name, changes in comparison.groups.items()]
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def _table(title: str, *columns: str, whole: Collection[int] = (0,)) -> Table:
    """Return an empty table; only the columns that are not `whole` have their words folded."""
    table = Table(
        title=Text(title) if title else None, title_justify="left", box=None, pad_edge=False, header_style="dim"
    )
    for number, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=number in whole)
    return table


def _changes(title: str, name_a: str, name_b: str, changes: Sequence[Change]) -> Table:
    table = _table(title, "", name_a, name_b, "change", "better", whole=(1, 2, 3, 4))
    for change in changes:
        table.add_row(
            Text(change.name),
            change.write(change.a),
            change.write(change.b),
            Text(change.told, {"a": "red", "b": "green", None: ""}[change.winner]),
            Text({"a": name_a, "b": name_b, None: ""}[change.winner]),
        )
    return table
