"""The figures of a run that a threshold may name: which there are, and what they are in given results.

A figure is a path into `loadtest.results.Results` that leads to a number: ``delivery.p99_ms``. Lists and tables of
parts are entered by what their parts are called (``groups.NAME.…``, ``server.NAME.…``, ``faults.NUMBER.…``), counts by
kind by the kind (``errors.status 503``, 0 where it did not happen) or not at all, which is the sum of all kinds.

``drift.CURVE`` is derived from the curves: the median of the last quarter of the run over that of its second quarter,
so what grows for ever shows, and what a start costs does not. ``drift.rss.stream_server`` is 1 where nothing leaks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import median
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from loadtest.results import Fault, GroupResults, Process, Results, Series
from loadtest.scenario.faults import meant

__all__ = ["PROGRAMS", "figure", "figure_fault"]

PROGRAMS: Final = ("stream_server", "publisher", "nats", "varnish", "waiting_room", "redis")
"""Names of programs of a local stack, under ``server`` and the curves of CPU and RSS."""

DRIFT: Final = "drift"
_BY: Final[dict[type, str]] = {GroupResults: "name", Process: "name", Fault: "number"}
_LEFT_OUT: Final = {"format", "thresholds", "scenario", "provenance", "series"}
_NUMBERS: Final = {int, float, bool}


def figure(results: Results, path: str) -> float | None:
    """Return the number at `path`; None where there is none in these results."""
    first, _, rest = path.partition(".")
    if first == DRIFT:
        return _drift(results.series, rest)
    value: Any = results
    keys = path.split(".")
    for position, key in enumerate(keys):
        match value:
            case dict():
                return int(value.get(".".join(keys[position:]), 0))
            case list():
                value = next((each for each in value if str(getattr(each, _BY[type(each)])) == key), None)
            case msgspec.Struct():
                value = getattr(value, key, None)
            case _:
                return None
    if isinstance(value, dict):
        return sum(value.values())
    return +value if type(value) in _NUMBERS else None


def figure_fault(path: str, *, groups: Collection[str], faults: int) -> str:
    """Say why no results can have a figure at `path`, given the names of groups and how many faults; empty if one can.

    The sentence goes on after the path.
    """
    first, _, rest = path.partition(".")
    if first == DRIFT:
        return _drift_fault(rest)
    known: dict[str, Any] = {key: of for key, of in _fields(Results).items() if key not in _LEFT_OUT}
    known[DRIFT] = None
    return _fault(path.split("."), known, groups=groups, faults=faults)


def _fault(keys: Sequence[str], known: dict[str, Any], *, groups: Collection[str], faults: int) -> str:
    """Follow `keys` through the fields of a part."""
    key, *rest = keys
    kind = known.get(key)
    if kind is None:
        return f"is no figure: {key or 'what is below it'} is not among {', '.join(known)}{meant(key, known)}"
    if get_origin(kind) is dict:
        return ""
    if get_origin(kind) is list:
        name = rest[0] if rest else ""
        if fault := _name_fault(key, name, groups=groups, faults=faults):
            return fault
        rest = rest[1:]
        (kind,) = get_args(kind)
    below = _fields(kind)
    if rest and below:
        return _fault(rest, below, groups=groups, faults=faults)
    if rest:
        return f"is no figure: {key} is a number, nothing is below it"
    return f"is no figure but a table of them: {', '.join(below)}" if below else ""


def _name_fault(key: str, name: str, *, groups: Collection[str], faults: int) -> str:
    """Say why a list has no part of this name."""
    if key == "faults":
        there = f"there are 1 to {faults}" if faults else "there is none"
        is_there = name in map(str, range(1, faults + 1))
        return "" if is_there else f"names no entry of the timeline, which are numbered from 1: {there}"
    known = groups if key == "groups" else PROGRAMS
    what = "group of this scenario" if key == "groups" else "program of a stack"
    return "" if name in known else f"names no {what}: there are {', '.join(known)}{meant(name, known)}"


def _drift_fault(curve: str) -> str:
    curves = _hints(Series)
    known = [each for each in curves if each != "at_s"]
    name, _, program = curve.partition(".")
    if name not in known:
        what = name or "what is below it"
        return f"is no figure: {what} is not among the curves {', '.join(known)}{meant(name, known)}"
    is_table = get_origin(curves[name]) is dict
    if is_table and not program:
        return f"is no figure: say of which, as {DRIFT}.{name}.{PROGRAMS[0]}"
    if program and not is_table:
        return f"is no figure: {name} is a curve, nothing is below it"
    return ""


def _drift(series: Series, curve: str) -> float | None:
    name, _, part = curve.partition(".")
    values = getattr(series, name, None)
    if isinstance(values, dict):
        values = values.get(part)
    if not values or len(values) != len(series.at_s):
        return None
    begin, end = series.at_s[0], series.at_s[-1]
    quarter = (end - begin) / 4
    pairs = [(at - begin, value) for at, value in zip(series.at_s, values, strict=True) if value is not None]
    early = [value for at, value in pairs if quarter <= at < 2 * quarter]
    late = [value for at, value in pairs if at >= 3 * quarter]
    if not early or not late:
        return None
    before = median(early)
    return float(median(late) / before) if before else None


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fields(kind: Any) -> dict[str, Any]:
    """Return the fields of a part that are, or lead to, numbers, each with its type less None."""
    if not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
        return {}
    found = {name: _without_none(of) for name, of in _hints(kind).items()}
    return {name: of for name, of in found.items() if _leads_to_numbers(of) and name != "number"}


def _leads_to_numbers(kind: Any) -> bool:
    if get_origin(kind) is dict:
        return get_args(kind) == (str, int)
    if get_origin(kind) is list:
        return get_args(kind)[0] in _BY
    return kind in _NUMBERS or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    return kind
