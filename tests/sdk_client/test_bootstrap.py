from __future__ import annotations

import json
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from sdk_client.bootstrap import read_bootstrap
from sdk_client.cache import MAX_FILE, Cached, DiskCache
from sdk_client.errors import ConfigurationError
from sdk_client.flags import Flag

SIMPLE: dict[str, Any] = {
    "banner": True,
    "old": False,
    "limit": 10,
    "rate": 2.5,
    "title": "hello",
    "x": {"enabled": False, "value": 3},
    "y": {"value": {"sizes": [1, 2]}},
    "z": {"enabled": False},
}
READ = {
    "banner": Flag("banner", enabled=True, value=None),
    "old": Flag("old", enabled=False, value=None),
    "limit": Flag("limit", enabled=True, value=10),
    "rate": Flag("rate", enabled=True, value=2.5),
    "title": Flag("title", enabled=True, value="hello"),
    "x": Flag("x", enabled=False, value=3),
    "y": Flag("y", enabled=True, value={"sizes": [1, 2]}),
    "z": Flag("z", enabled=False, value=None),
}
STATES = [
    {"feature": {"id": number, "name": flag.name}, "enabled": flag.enabled, "feature_state_value": flag.value}
    for number, flag in enumerate(READ.values())
]
ENVIRONMENT = {"api_key": "abc", "name": "dev", "project": {"segments": []}, "feature_states": STATES}
FORMS: dict[str, Any] = {"simple": SIMPLE, "flags": STATES, "environment": ENVIRONMENT, "read": READ}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_flags(form: str) -> None:
    assert dict(read_bootstrap(FORMS[form])) == READ


@pytest.mark.parametrize("form", ["simple", "flags", "environment"])
def test_a_file_of_any_form_is_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(FORMS[form]), encoding="utf-8-sig")  # with the mark that some editors leave
    assert dict(read_bootstrap(path)) == READ
    assert dict(read_bootstrap(str(path))) == READ


@pytest.mark.parametrize(("kind", "body"), [("flags", STATES), ("environment", ENVIRONMENT)], ids=["flags", "document"])
def test_our_own_cache_file_of_any_environment_is_read(kind: Any, body: Any, tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, "another")
    assert disk.save(Cached(kind, 1, labelled=True, etag="", body=json.dumps(body).encode()))
    assert dict(read_bootstrap(disk.path)) == READ


def test_features_may_be_called_like_parts_of_a_document() -> None:
    names = {"format": 1, "kind": "flags", "environment": "dev", "body": {"enabled": True}, "feature_states": True}
    assert set(read_bootstrap(names)) == set(names)


def test_other_kinds_of_dicts_and_lists_are_as_good() -> None:
    assert read_bootstrap(OrderedDict(a=MappingProxyType({"enabled": False})))["a"] == Flag("a", False, None)
    assert dict(read_bootstrap(tuple(STATES))) == READ
    assert not read_bootstrap({})
    assert not read_bootstrap([])


def test_what_the_program_changes_later_is_not_ours() -> None:
    sizes = [1, 2]
    source = {"a": {"value": sizes}}
    flags = read_bootstrap(source)
    sizes.append(3)
    source.clear()
    assert flags == {"a": Flag("a", enabled=True, value=[1, 2])}
    with pytest.raises(TypeError):
        flags["b"] = flags["a"]  # type: ignore[index]


def test_a_true_that_is_a_value_is_said_so() -> None:
    assert read_bootstrap({"a": {"value": True}})["a"] == Flag("a", enabled=True, value=True)


def test_numbers_of_an_enum_are_numbers() -> None:
    size = IntEnum("size", ["SMALL", "LARGE"])
    assert read_bootstrap({"a": size["LARGE"]})["a"].value == 2


LONG = "n" * 500

FAULTS: dict[str, tuple[Any, list[str]]] = {
    "all of them": (
        {"a": None, "good": True, "b": {"enabled": "yes"}, "c": [1], "d": {"value": float("nan")}},
        [
            "'a' is null, which is neither a state nor a value",
            "'b' has enabled = 'yes', which is neither true nor false",
            """'c' is a list; write {"value": …} for a value that is none of text, number, boolean""",
            "'d' has a value that JSON does not know: nan",
        ],
    ),
    "a misspelt field": ({"a": {"enable": True}}, ["""'a' has ['enable'], where "enabled" and "value" are known"""]),
    "an empty dict": ({"a": {}}, ["""'a' has [], where "enabled" and "value" are known"""]),
    "an infinite number": ({"a": float("inf")}, ["'a' has a value that JSON does not know: inf"]),
    "a value within": ({"a": {"value": {"b": {1, 2}}}}, ["'a' has a value that JSON does not know: {'b': {1, 2}}"]),
    "bytes": ({"a": b"x"}, ["'a' is a bytes; write"]),
    "a name that is none": ({1: True, "": False}, ["1 is no name of a feature", "'' is no name of a feature"]),
    "a name that is null": ({None: True}, ["None is no feature: True"]),
    "a flag of another name": ({"a": Flag("b", True, 1)}, ["'a' is a Flag of another name, 'b'"]),
    "items that are no features": (
        [{"enabled": True}, "x", STATES[0]],
        ["[0] is no feature: {'enabled': True}", "[1] is no feature: 'x'"],
    ),
    "a feature without a state": ([{"feature": {"name": "a"}}], ["'a' has enabled = None"]),
    "twice": ([STATES[0], STATES[0]], ["'banner' is there twice"]),
    "in an environment document": ({"feature_states": [{"feature": {"name": "a"}, "enabled": 1}]}, ["'a' has enabled"]),
    "a long name": ({LONG: None}, [f"'{LONG[:200]}' is null"]),
    "too many to tell": ([0] * 1000, ["[19] is no feature: 0; and 980 more"]),
}


@pytest.mark.parametrize("case", FAULTS)
def test_every_fault_is_named_at_once(case: str) -> None:
    source, faults = FAULTS[case]
    with pytest.raises(ConfigurationError) as raised:
        read_bootstrap(source)
    assert raised.value.argument == "bootstrap"
    assert str(raised.value).startswith("bootstrap cannot be read: ")
    for fault in faults:
        assert fault in str(raised.value)
    assert "good" not in str(raised.value)


@pytest.mark.parametrize("source", [None, 3, True, b"{}", {1, 2}, object()], ids=lambda source: type(source).__name__)
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^bootstrap must be a dict, a list or a path, not an? \w+$"):
        read_bootstrap(source)


def test_a_cache_file_of_a_later_format_is_refused() -> None:
    later = {"format": 2, "kind": "flags", "environment": "0", "body": []}
    with pytest.raises(ConfigurationError, match="is a cache file of format 2, not 1"):
        read_bootstrap(later)


FILES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "No such file or directory"),
    "empty": (b"", "it is not JSON (line 1, column 1: Expecting value)"),
    "a comma too many": (b'{"a": true,\n}', "it is not JSON (line 2, column 1: "),
    "a text": (b'"banner"', "it holds a str, neither an object nor a list"),
    "binary": (b"\x80\x81\x82\x83", "it is not JSON (nor text)"),
    "nested deeply": (b"[" * 100_000, "it is nested too deeply"),
    "too large": (b" " * (MAX_FILE + 1), f"it is larger than {MAX_FILE} bytes"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(case: str, tmp_path: Path) -> None:
    content, reason = FILES[case]
    path = tmp_path / "flags.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        read_bootstrap(path)
    assert str(raised.value).startswith(f"bootstrap cannot be read from {path}: {reason}")


def test_a_path_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="bootstrap cannot be read from"):
        read_bootstrap("a\0b")
    with pytest.raises(ConfigurationError, match=r"Is a directory|Permission denied"):
        read_bootstrap("/")
