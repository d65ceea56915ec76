"""What is wrong with a scenario: each fault at a path of the document, in a sentence that says what to do."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from loadtest.models import MODELS
from loadtest.scenario.lines import Path
from loadtest.scenario.schema import Scenario

__all__ = ["Breach", "ScenarioError", "breaches", "fields", "meant", "named", "shown"]

LONGEST_VALUE: Final = 60


class ScenarioError(Exception):
    """The scenario cannot be used; `faults` has everything that is wrong, each as ``FILE:LINE: sentence``."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing that is wrong `at` a path of the document.

    `given` are the paths whose values it follows from: if one of them is wrong in itself, this is not told.
    """

    at: Path
    says: str
    given: tuple[Path, ...] = ()


def breaches(error: ValidationError, document: Mapping[str, Any]) -> Iterator[Breach]:
    """Yield what the schema does not allow in `document`."""
    for each in error.errors():
        path: Path = tuple(each["loc"])
        yield Breach(path, _sentence(path, each, _value(document, path)))


def named(path: Path) -> str:
    """Return a path as one would write it, without the indexes that its line tells: ``clients.mix.model``."""
    return ".".join(key if _is_bare(key) else json.dumps(key) for key in path if isinstance(key, str))


def shown(value: Any) -> str:
    """Return a value as TOML has it, in a few words."""
    match value:
        case dict():
            return "a table"
        case list() | tuple() if any(isinstance(each, dict) for each in value):
            return "a list of tables"
        case list() | tuple():
            text = f"[{', '.join(map(shown, value))}]"
        case bool():
            text = str(value).lower()
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case float():
            text = f"{value:g}"
        case _:
            text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def meant(word: object, known: Iterable[str]) -> str:
    """Return a question whether the nearest of `known` was meant, beginning with a semicolon; empty without one."""
    match = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {match[0]}?" if match else ""


def fields(path: Path, whole: type[BaseModel] = Scenario) -> tuple[str, ...]:
    """Return the keys of the table at `path` of a document, none where there is no table of known keys."""
    table: type[BaseModel] | None = whole
    for key in path:
        if isinstance(key, str) and table is not None:
            field = table.model_fields.get(key)
            table = _table_in(field.annotation) if field else None
    return tuple(table.model_fields) if table is not None else ()


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)


def _is_bare(key: str) -> bool:
    return bool(key) and key.isascii() and key.replace("-", "").replace("_", "").isalnum()


def _value(document: Any, path: Path) -> Any:
    for key in path:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


_KINDS: Final = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "dict_type": "a table of its own",
    "tuple_type": 'a list: ["first", "second"]',
}
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
_PATTERNS: Final = {
    "keys": "1 to 128 letters, digits, - and _: the client-side key of an environment",
    "name": "at most 64 letters, digits, - and _",
}


def _sentence(path: Path, error: ErrorDetails, value: Any) -> str:
    *_, last = path
    name = named(path)
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"{name} is not a key {_among(path)}"
    if kind == "missing" and isinstance(last, str):
        return f"{name} is missing: {_needed(last)}"
    if kind == "value_error":
        suggestion = meant(value, MODELS) if last == "model" else ""
        return f"{name} = {shown(value)}: {str(error['msg']).removeprefix('Value error, ')}{suggestion}"
    given = error["input"] if kind == "missing" else value
    return f"{name} = {shown(given)} must be {_allowed(path, error, value)}"


def _among(path: Path) -> str:
    *above, last = path
    known = fields(tuple(above))
    table = named(tuple(above))
    return f"{f'of [{table}]' if table else 'of a scenario'}; there are {', '.join(known)}{meant(last, known)}"


def _needed(key: str) -> str:
    return {
        "title": "say in a line what is tried",
        "seconds": "say how long the run is",
        "clients": "begin a table [clients] with the key count",
        "count": "say how many clients there are",
        "model": f"say which kind of client; there are {', '.join(MODELS)}",
        "at": "say at which second of the run",
        "do": "say what is done: kill, stop, freeze, deploy, cut, clients, rate or run",
    }[key]


def _allowed(path: Path, error: ErrorDetails, value: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    key = next((key for key in reversed(path) if isinstance(key, str)), "")
    if path[0] == "thresholds":
        return 'a condition in quotes, as "== 0"' if len(path) > 1 else "a table: [thresholds]"
    if kind in _BOUNDS:
        of, words = _BOUNDS[kind]
        return f"{words} {context[of]:.15g}"
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", '"')
        return expected + meant(value, expected.replace('"', "").replace(" or ", ", ").split(", "))
    if kind in {"missing", "too_long", "tuple_type"} and key in {"stays", "away"}:
        return "two numbers of seconds: [least, most]"
    if kind in {"tuple_type", "model_type"} and fields(path):
        brackets = "[[{}]]" if kind == "tuple_type" or isinstance(path[-1], int) else "[{}]"
        return f"a table of its own, begun with {brackets.format(named(path))}"
    allowed = _PATTERNS.get(key) if kind == "string_pattern_mismatch" else _KINDS.get(kind)
    return allowed or str(error["msg"]).removeprefix("Input should be ")
