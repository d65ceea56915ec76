from __future__ import annotations

import enum
import logging
import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from sdk_client import flags as flags_module
from sdk_client.flags import Flag, Flags, Source

VALUES: dict[str, Any] = {
    "on": True,
    "text": "hello",
    "three": "3",
    "half": 0.5,
    "json": '{"a": 1}',
    "parsed": {"a": 1},
    "none": None,
    "long": 10**5000,
}
FLAGS = Flags((Flag(name, enabled=name != "half", value=value) for name, value in VALUES.items()), 7, Source.SERVER)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Plan(enum.StrEnum):
    FREE = "free"


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags_module, "_told", set())


def test_the_state_and_the_value_are_two_things() -> None:
    assert FLAGS.is_enabled("on")
    assert not FLAGS.is_enabled("half")
    assert FLAGS.number("half", 1.0) == 0.5
    assert FLAGS.value("parsed") == {"a": 1}


def test_getters_read_values_by_type() -> None:
    assert FLAGS.boolean("on", default=False) is True
    assert FLAGS.string("text", "") == "hello"
    assert FLAGS.integer("three", 0) == 3
    assert FLAGS.number("three", 0.0) == 3.0
    assert FLAGS.json("json") == FLAGS.json("parsed") == {"a": 1}


def test_a_feature_that_is_not_there_gives_the_default_and_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert FLAGS.is_enabled("gone", default=True)
    assert FLAGS.value("gone", 3) == 3
    assert FLAGS.boolean("gone", default=True)
    assert FLAGS.string("gone", "x") == "x"
    assert FLAGS.integer("gone", 3) == 3
    assert FLAGS.number("gone", 2.5) == 2.5
    assert FLAGS.json("gone", []) == []
    assert FLAGS.variant("gone", ["a"], "b") == "b"
    assert not caplog.records


def test_a_feature_without_a_value_gives_the_default_of_every_type(caplog: pytest.LogCaptureFixture) -> None:
    assert FLAGS.value("none", 3) is None
    assert FLAGS.boolean("none", default=True)
    assert FLAGS.json("none", []) == []
    assert FLAGS.variant("none", ["a"], "b") == "b"
    assert not caplog.records


def test_a_wrong_type_gives_the_default_and_is_told_once_for_each_feature_and_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        assert FLAGS.integer("text", 3) == 3
        assert FLAGS.boolean("text", default=True) is True
        assert FLAGS.integer("on", 3) == 3
        assert FLAGS.string("long", "x") == "x"
    assert [(record.name, record.levelno) for record in caplog.records] == [("sdk_client", logging.WARNING)] * 4
    assert caplog.messages[0] == "feature 'text': 'hello' is not of the type asked for: integer; the default is used"


def test_lines_about_wrong_types_are_bounded_whatever_names_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    many = Flags(Flag(f"f{number}", enabled=True, value="x") for number in range(flags_module.MAX_TOLD + 50))
    for name in many:
        assert many.integer(name, 0) == 0
    assert len(caplog.records) == flags_module.MAX_TOLD


def test_a_variant_is_only_ever_one_that_the_code_knows(caplog: pytest.LogCaptureFixture) -> None:
    flags = Flags([Flag("c", enabled=True, value="red"), Flag("p", enabled=True, value="free")])
    assert flags.variant("c", ["red", "blue"], "blue") == "red"
    assert flags.variant("c", Colour, Colour.BLUE) is Colour.RED
    assert flags.variant("p", Plan, Plan.FREE) is Plan.FREE
    assert not caplog.records
    assert flags.variant("p", Colour, Colour.BLUE) is Colour.BLUE
    assert caplog.messages == ["feature 'p': 'free' is none of the choices; the default is used"]


@pytest.mark.parametrize(("value", "choices"), [(True, [0, 1]), (1, [False, True]), (0, [False]), ("1", [1])])
def test_a_variant_of_another_type_is_another_variant(value: Any, choices: list[Any]) -> None:
    assert Flags([Flag("v", enabled=True, value=value)]).variant("v", choices, "default") == "default"


def test_flags_are_a_mapping_in_the_order_of_the_document() -> None:
    assert isinstance(FLAGS, Mapping)
    assert list(FLAGS) == list(VALUES)
    assert len(FLAGS) == len(VALUES)
    assert "on" in FLAGS
    assert "gone" not in FLAGS
    assert FLAGS["text"] == Flag("text", enabled=True, value="hello")
    assert FLAGS == Flags(FLAGS, 8) == dict(FLAGS)
    assert (FLAGS.version, FLAGS.source) == (7, Source.SERVER)
    assert (Flags().version, Flags().source) == (0, Source.NONE)
    with pytest.raises(KeyError):
        FLAGS["gone"]


def test_flags_do_not_change_with_what_they_were_made_of() -> None:
    held = {"a": Flag("a", enabled=True, value=1)}
    flags = Flags(held)
    held.clear()
    assert list(flags) == ["a"]
    with pytest.raises(TypeError):
        flags["a"] = flags["a"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        flags.version = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        flags.other = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        flags["a"].value = 3  # type: ignore[misc]


def test_flags_travel_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(FLAGS))  # noqa: S301 - our own
    assert copy == FLAGS
    assert (copy.version, copy.source) == (7, Source.SERVER)


def test_the_repr_tells_what_is_there_and_stays_short() -> None:
    few = Flags([Flag("a", enabled=True, value="x"), Flag("b", enabled=False, value=None)], 7, Source.CACHE)
    assert repr(few) == "<Flags 2 at 7 from cache: a on 'x', b off>"
    assert repr(Flags()) == "<Flags 0 at 0 from none: none>"
    many = repr(Flags(Flag(f"f{number}", enabled=True, value="y" * 10_000) for number in range(1000)))
    assert many.endswith("and 995 more>")
    assert len(many) < 400
    assert "a long int" in repr(Flags([FLAGS["long"]]))
