"""Reads scenarios: one of the built-in ones or a file, whole or in its short form, with every fault by its line.

A file's table ``[short]`` is what differs in its short form: tables are merged key by key, lists and values replaced.
Both forms are checked, whichever is read, so that a fault does not wait in the other.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from loadtest.scenario.checking import checked
from loadtest.scenario.document import BESIDE, Document, nested
from loadtest.scenario.faults import Breach, ScenarioError, meant, shown
from loadtest.scenario.lines import lines
from loadtest.scenario.schema import Scenario

__all__ = ["ScenarioError", "names", "read"]

SHORT: Final = "short"
SUFFIX: Final = ".toml"
MOST: Final = 1 << 18
"""Bytes of a file: tens of thousands of faults take minutes to be told, and a device may never end."""

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def names() -> tuple[str, ...]:
    """Return the names of the built-in scenarios."""
    found = (each.name for each in _folder().iterdir())
    return tuple(sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)))


def read(source: Path | str, *, short: bool = False, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Return the scenario of a built-in name, or of a file: a Path, or text that ends in .toml or has a slash.

    `overrides` win over the file: by key, with dots into tables (``{"clients.count": 500}``). Raises `ScenarioError`
    with every fault.
    """
    file = _file(source)
    whole, brief = _forms(file, _text(file))
    faults: dict[tuple[int, str], None] = {}  # in order, each once
    for form in (whole, brief):
        faults |= dict.fromkeys(_told(form, faults, is_brief=form is brief))
    if faults:
        raise ScenarioError(f"{file}:{line}: {says}" for line, says in sorted(faults, key=itemgetter(0)))
    form = (brief if short else whole).over(nested(overrides or {}))
    scenario, breaches = checked(form.data)
    if scenario is None:
        raise ScenarioError(_beside(file, form, breaches))
    return scenario


def _folder() -> Traversable:
    return files("loadtest").joinpath("scenarios")


def _file(source: Path | str) -> Path | Traversable:
    if isinstance(source, Path):
        return source
    if source.endswith(SUFFIX) or "/" in source:
        return Path(source)
    if source not in (known := names()):
        says = f"there is no such scenario; there are {', '.join(known)}, and files, whose paths end in {SUFFIX}"
        raise ScenarioError([f"{source}: {says}{meant(source, known)}"])
    return _folder().joinpath(f"{source}{SUFFIX}")


def _text(file: Path | Traversable) -> str:
    """Return what is in the file."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST + 1)
    except FileNotFoundError:
        raise ScenarioError([f"{file}: there is no such file"]) from None
    except IsADirectoryError:
        raise ScenarioError([f"{file}: is a folder; name the file of a scenario in it"]) from None
    except OSError as error:
        raise ScenarioError([f"{file}: cannot be read: {error.strerror or error}"]) from None
    if len(data) > MOST:
        raise ScenarioError([f"{file}: is larger than {MOST >> 10} KiB; is it the file of a scenario?"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        says = f"is not UTF-8: there is a byte 0x{data[error.start]:02x}; save the file as UTF-8 text"
        raise ScenarioError([f"{file}:{line}: {says}"]) from None


def _forms(file: Path | Traversable, text: str) -> tuple[Document, Document]:
    """Return the whole form and the short one."""
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise ScenarioError([f"{file}: is nested too deeply to be read"]) from None
    except ValueError as error:  # tomllib's own, and what int() says of thousands of digits
        raise ScenarioError([f"{file}:{_syntax(error, text)}"]) from None
    if not data:
        raise ScenarioError([f"{file}:1: is empty; a scenario has at least title, seconds and, under [clients], count"])
    places = lines(text)
    differs = data.pop(SHORT, {})
    if not isinstance(differs, dict):
        raise ScenarioError([f"{file}:{places[SHORT,]}: short = {shown(differs)} must be a table: [short]"])
    whole = Document.of(data, {path: line for path, line in places.items() if path[0] != SHORT})
    inner = {path[1:]: line for path, line in places.items() if path[0] == SHORT and len(path) > 1}
    return whole, whole.over(Document.of(differs, inner))


def _syntax(error: ValueError, text: str) -> str:
    """Return line and sentence of what keeps the text from being TOML."""
    says = str(error)
    match = _PLACE.search(says)
    line, column = (match[1], match[2]) if match else ("1", None)
    if match:
        says = says[: match.start()]
    if line is None:
        line = str(len(text.splitlines()) or 1)
    at = f" at column {column}" if column else ""
    return f"{line}: is not TOML: {says[:1].lower()}{says[1:]}{at}"


def _told(form: Document, before: Mapping[tuple[int, str], None], *, is_brief: bool) -> Iterator[tuple[int, str]]:
    """Yield line and sentence of each fault; of a short form only the new ones, and that it is in that form."""
    known = {says for _, says in before}
    for breach in checked(form.data)[1]:
        line = form.line(breach.at)
        if not is_brief:
            yield line, breach.says
        elif (line, breach.says) not in before and (breach.at in form.places or breach.says not in known):
            yield line, f"in the short form, {breach.says}"


def _beside(file: Path | Traversable, form: Document, breaches: list[Breach]) -> Iterator[str]:
    """Yield the faults that overrides brought, which were given beside the file."""
    for breach in breaches:
        line = form.line(breach.at)
        place = f"{file}" if line == BESIDE else f"{file}:{line}"
        yield f"{place}: with what was given beside the file, {breach.says}"
