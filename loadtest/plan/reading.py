"""Reads a plan: a file, what is given beside it, and defaults for all else, with every fault by its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from loadtest.plan.settings import Plan
from loadtest.scenario.document import BESIDE, Document, nested
from loadtest.scenario.faults import fields, meant, named, shown
from loadtest.scenario.lines import Path as Place
from loadtest.scenario.lines import lines

__all__ = ["PlanError", "read"]

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_INDEX: Final = re.compile(r"([a-z_]+)(?:\[(\d+)\])?")


class PlanError(Exception):
    """The plan cannot be used; `faults` has everything that is wrong, each as ``FILE:LINE: sentence``."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def read(file: Path | None, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan of a file, or the default one; `overrides` win, by key with dots into tables.

    Raises `PlanError` with every fault.
    """
    document = Document.of({}, {}) if file is None else _document(file)
    document = document.over(nested(overrides or {}))
    try:
        return Plan.model_validate(document.data)
    except ValidationError as error:
        faults = sorted({_told(fault, document, file) for each in error.errors() for fault in _each(each)})
        raise PlanError(says for _, says in faults) from None


def _document(file: Path) -> Document:
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise PlanError([f"{file}: is not UTF-8 text"]) from None
    except OSError as error:
        raise PlanError([f"{file}: cannot be read: {error.strerror or error}"]) from None
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise PlanError([f"{file}: is nested too deeply to be read"]) from None
    except ValueError as error:
        match = _PLACE.search(str(error))
        line = (match[1] if match else None) or str(len(text.splitlines()) or 1)
        raise PlanError([f"{file}:{line}: is not TOML: {_PLACE.sub('', str(error))}"]) from None
    return Document.of(data, lines(text))


def _each(error: ErrorDetails) -> Iterator[tuple[Place, str]]:
    """Yield path and sentence of what one error of pydantic says; those of the whole plan say several."""
    place: Place = tuple(error["loc"])
    if place:
        yield place, _sentence(place, error)
        return
    for line in str(error["msg"]).removeprefix("Value error, ").splitlines():
        path = line.partition(": ")[0]
        keys: list[str | int] = []
        for key, index in _INDEX.findall(path):
            keys.extend([key, int(index)] if index else [key])
        yield tuple(keys), line


def _told(fault: tuple[Place, str], document: Document, file: Path | None) -> tuple[int, str]:
    place, says = fault
    line = document.line(place) if file is not None else BESIDE
    if line == BESIDE:
        return line, f"with what was given as options, {says}"
    return line, f"{file}:{line}: {says}"


def _sentence(place: Place, error: ErrorDetails) -> str:
    name, value = named(place) or "the plan", shown(error["input"])
    match error["type"]:
        case "extra_forbidden":
            *above, last = place
            known = fields(tuple(above), Plan)
            return f"{name} is not a key here; there are {', '.join(known)}{meant(last, known)}"
        case "missing":
            return f"{name} is missing"
        case "value_error":
            return f"{name} = {value}: {str(error['msg']).removeprefix('Value error, ')}"
        case "model_type" | "model_attributes_type":
            return f"{name} = {value} must be a table"
        case "tuple_type":
            return f"{name} = {value} must be a list of tables"
    says = str(error["msg"]).removeprefix("Input should be ").partition(", unable to parse")[0]
    return f"{name} = {value} must be {says}"
