"""docs/loadtest-scenarios.md says what the schema and the rules say, and nothing else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from loadtest.models import MODELS
from loadtest.scenario.faults import fields, shown
from loadtest.scenario.figures import PROGRAMS, figure_fault
from loadtest.scenario.reading import names, read
from loadtest.scenario.rules import KEYS
from loadtest.scenario.schema import PARTS, Clients, Environments, Fault, Local, Mix, Publishing, Scenario, Slow
from loadtest.scenario.thresholds import condition

DOCUMENT = (Path(__file__).parents[3] / "docs" / "loadtest-scenarios.md").read_text(encoding="utf-8")
TABLES: dict[str, type[BaseModel]] = {
    "": Scenario,
    "local": Local,
    "environments": Environments,
    "clients": Clients,
    "clients.mix": Mix,
    "clients.mix.slow": Slow,
    "publish": Publishing,
    "timeline": Fault,
}


def rows(marker: str) -> list[list[str]]:
    """Return the cells of the table after a marker."""
    _, after = DOCUMENT.split(f"<!-- {marker} -->\n\n")
    table = after.split("\n\n", maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]


def default(table: type[BaseModel], key: str) -> str:
    """Render a default as the document has it."""
    field = table.model_fields[key]
    if field.is_required():
        return "–"
    if field.default is None:
        return "none"
    if isinstance(field.default, dict | BaseModel):
        return ""
    return f"`{shown(field.default)}`"


@pytest.mark.parametrize(("name", "table"), TABLES.items(), ids=[name or "whole" for name in TABLES])
def test_every_key_is_there_in_order_with_its_default_and_no_other(name: str, table: type[BaseModel]) -> None:
    documented = [(key, given) for key, _, given, _ in rows(f"keys: {name}".strip())]
    assert documented == [(f"`{key}`", default(table, key)) for key in table.model_fields]
    assert fields(tuple(name.split(".")) if name else ()) == tuple(table.model_fields)


@pytest.mark.parametrize(("name", "table"), TABLES.items(), ids=[name or "whole" for name in TABLES])
def test_choices_are_those_of_the_schema(name: str, table: type[BaseModel]) -> None:
    for key, unit, _, _ in rows(f"keys: {name}".strip()):
        choices = get_args(table.model_fields[key.strip("`")].annotation)
        if unit.startswith("`"):
            assert unit == ", ".join(f"`{choice}`" for choice in choices)


def test_what_each_deed_takes_is_what_the_rules_let_it_take() -> None:
    documented = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[1])) for row in rows("deeds")}
    assert documented == dict(KEYS)
    assert set(documented) == set(get_args(Fault.model_fields["do"].annotation))


def test_parts_and_programs_are_all_named() -> None:
    after = DOCUMENT.split("\nParts are ")[1].split(". Workers")[0]
    assert re.findall(r"`(\w+)`", after) == list(PARTS)
    assert all(f"`{program}`" in DOCUMENT.split("## Thresholds")[1] for program in PROGRAMS)


def test_every_built_in_scenario_is_named_with_its_purpose() -> None:
    after = DOCUMENT.split("## The ones that come with it")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", after, re.MULTILINE)) == list(names())


def test_its_example_is_a_scenario(tmp_path: Path) -> None:
    example, command, thresholds = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    path = tmp_path / "x.toml"
    path.write_text(example)
    assert read(path).clients.count == 2_000
    assert read(path, short=True).clients.count == 200
    (entry,) = tomllib.loads(command)["timeline"]
    assert Fault.model_validate(entry).do == "run"
    for line in thresholds.splitlines()[1:]:
        figure, text = line.split(" = ", maxsplit=1)
        assert not figure_fault(figure, groups=["edge", "direct"], faults=0)
        assert condition(text.strip('"')).sign in text
    assert {mix.model for mix in read(path).clients.mix} <= set(MODELS)


def test_the_figures_that_it_names_are_some() -> None:
    text = DOCUMENT.split("## Thresholds")[1]
    named = re.findall(r"`\"?((?:[a-z_]+\.)+[a-z0-9_ ]+)\"?`", text)
    assert len(named) >= 8
    assert not [name for name in named if figure_fault(name, groups=[], faults=0)]
