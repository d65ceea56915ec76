"""Checks a document whole: what its keys are each, and what they are together as far as they are right each."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from loadtest.scenario.faults import Breach, breaches
from loadtest.scenario.lines import Path
from loadtest.scenario.rules import rules
from loadtest.scenario.schema import Scenario

__all__ = ["checked"]

_STAND_INS: Final[Mapping[str, Any]] = {
    "title": "",
    "seconds": 86_400,
    "clients": {"count": 1},
    "count": 1,
    "model": "flagstream",
    "at": 0,
    "do": "deploy",
}
"""For what must be given and is missing or wrong, so that the rest can be held to the rules."""


def checked(data: Mapping[str, Any]) -> tuple[Scenario | None, list[Breach]]:
    """Return the scenario that `data` is, and all that is wrong; None if anything is."""
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        return None, list(_all(error, data))
    found = list(rules(scenario))
    return (None if found else scenario), found


def _all(error: ValidationError, data: Mapping[str, Any]) -> Iterator[Breach]:
    """Yield what the schema does not allow, then the rules broken by what it does."""
    found = list(breaches(error, data))
    yield from found
    wrong = {breach.at for breach in found}
    if scenario := _rest(error, data):
        for breach in rules(scenario):
            if not any(_touch(path, other) for path in (breach.at, *breach.given) for other in wrong):
                yield breach


def _rest(error: ValidationError, data: Mapping[str, Any]) -> Scenario | None:
    """Return the scenario without what is wrong in itself; None if nothing can be made of it."""
    usable = copy.deepcopy(dict(data))
    for _ in range(4):  # what is dropped may have been needed, and a stand-in may lack something in turn
        for each in error.errors():
            _mend(usable, tuple(each["loc"]), is_missing=each["type"] == "missing")
        try:
            return Scenario.model_validate(usable)
        except ValidationError as again:
            error = again
    return None


def _mend(usable: dict[str, Any], path: Path, *, is_missing: bool) -> None:
    while isinstance(path[-1], int):  # a list goes as a whole: its other elements would change places
        path, is_missing = path[:-1], False
    *above, last = path
    table: Any = usable
    for key in above:
        try:
            table = table[key]
        except (KeyError, IndexError, TypeError):
            return  # went with something above it
    if is_missing:
        table[last] = _STAND_INS[str(last)]
    elif isinstance(table, dict):
        table.pop(last, None)


def _touch(path: Path, other: Path) -> bool:
    """Say whether one of two paths leads through the other."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]
