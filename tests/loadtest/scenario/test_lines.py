"""The line of every key of a TOML text, held against tomllib and texts in every layout that TOML has."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.scenario.lines import Path, lines

BARE = st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True)
ODD = st.sampled_from(["a.b", "with space", "", "#", "ключ", '"', "'", "=", "[x]", "\\", "\t"])
NOISE = st.sampled_from(["", "\n", "# [a] = 1\n", "  # x = {\n\n", "\t\n"])
EDGE = st.sampled_from(["", " ", "\t "])


def written_key(key: str, *, literal: bool) -> str:
    if key and key.isascii() and key.replace("-", "").replace("_", "").isalnum():
        return f"'{key}'" if literal else key
    return f"'{key}'" if literal and "'" not in key and "\t" not in key else json.dumps(key, ensure_ascii=False)


@st.composite
def keys(draw: st.DrawFn) -> str:
    return written_key(draw(BARE | ODD), literal=draw(st.booleans()))


@st.composite
def scalars(draw: st.DrawFn) -> str:
    return draw(
        st.sampled_from(
            [
                *("1", "-0.5", "inf", "true", "0x1F", "1_000", "1979-05-27 07:32:00", "07:32:00"),
                *('""', "''", '"a # b"', "'[x] = \"'", r'"\"]}"', r'"\\"', "'\\'"),
                *('"""a\nb = 1\n[c]"""', '"""\n\\\n x"""', '"""""two"""""', r'"""\"""" """', '""""""'),
                *("'''\n[[d]]\ne = 2'''", "''''one''''", "''''''"),
            ]
        )
    )


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    parts = draw(st.lists(values, max_size=3))
    gaps = [draw(NOISE | EDGE) for _ in range(2 * len(parts) + 1)]
    inner = "".join(
        f"{gaps[2 * index]}{part}{gaps[2 * index + 1]}{',' if index < len(parts) - 1 or draw(st.booleans()) else ''}"
        for index, part in enumerate(parts)
    )
    return f"[{inner}{gaps[-1]}]"


@st.composite
def inline_tables(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(keys(), max_size=3, unique=True))
    pairs = [f"{draw(EDGE)}{name}{draw(EDGE)}={draw(EDGE)}{draw(values)}{draw(EDGE)}" for name in names]
    return f"{{{','.join(pairs)}}}"


VALUES = st.recursive(scalars(), lambda values: arrays(values) | inline_tables(values), max_leaves=6)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Lines of TOML; many are refused by tomllib (keys that are there twice), the rest is what is tested."""
    parts = []
    for _ in range(draw(st.integers(1, 8))):
        dotted = f"{draw(EDGE)}.{draw(EDGE)}".join(draw(st.lists(keys(), min_size=1, max_size=3)))
        form = draw(st.sampled_from(["pair", "pair", "table", "array"]))
        line = {
            "pair": f"{dotted}{draw(EDGE)}={draw(EDGE)}{draw(VALUES)}",
            "table": f"[{draw(EDGE)}{dotted}{draw(EDGE)}]",
            "array": f"[[{draw(EDGE)}{dotted}{draw(EDGE)}]]",
        }[form]
        parts.append(f"{draw(NOISE)}{draw(EDGE)}{line}{draw(EDGE)}{draw(st.sampled_from(['', '# c = 1']))}\n")
    text = "".join(parts)
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Yield every path that tomllib knows."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*above, key)
            yield from paths(each, (*above, key))


def holds(line: str, key: str) -> bool:
    """Whether a line has the key, in one of the ways to write it."""
    return key in line or json.dumps(key, ensure_ascii=False)[1:-1] in line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts())
def test_every_key_that_tomllib_reads_has_a_line_and_is_in_it(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = lines(text)
    split = text.replace("\r\n", "\n").split("\n")
    assert set(found) == set(paths(document))
    for path, line in found.items():
        assert 1 <= line <= len(split)
        if isinstance(path[-1], str):
            assert holds(split[line - 1], path[-1]), path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(VALUES, min_size=1, max_size=6), st.lists(NOISE, min_size=6, max_size=6))
def test_keys_are_on_the_lines_that_they_were_written_on(values: list[str], noise: list[str]) -> None:
    text, expected = "", {}
    for index, value in enumerate(values):
        text += noise[index]
        expected[f"k{index}"] = text.count("\n") + 1
        text += f"k{index} = {value}\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # an inline table with a key twice
        return
    assert {path[0]: line for path, line in lines(text).items() if len(path) == 1} == expected


TEXT = '''\
# a comment
title = """
about = 1
"""
[a.b]
c.d = 1
[[list]]
x = 1

[[list]]  # second
x = [
  1,
  # not this
  { y = "]" },
]
[list.inner]
z = 'a'
[a]
q = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("a", "b"), 5),
        (("a", "b", "c", "d"), 6),
        (("list",), 7),
        (("list", 0), 7),
        (("list", 1), 10),
        (("list", 1, "x"), 11),
        (("list", 1, "x", 0), 12),
        (("list", 1, "x", 1), 14),
        (("list", 1, "x", 1, "y"), 14),
        (("list", 1, "inner", "z"), 17),
        (("a",), 18),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else ".".join(map(str, value)),
)
def test_where_things_begin(path: Path, line: int) -> None:
    assert lines(TEXT)[path] == line
