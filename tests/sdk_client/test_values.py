from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_client.errors import FlagClientError, ValueTypeError
from sdk_client.values import as_boolean, as_integer, as_json, as_number, as_string

LONG = "9" * 1000
BROKEN = "[" * 100_000

READ: list[tuple[Callable[[Any], Any], Any, Any]] = [
    (as_boolean, True, True),
    (as_boolean, False, False),
    (as_boolean, "true", True),
    (as_boolean, " FALSE ", False),
    (as_string, "", ""),
    (as_string, " 3 ", " 3 "),
    (as_integer, 3, 3),
    (as_integer, -(10**30), -(10**30)),
    (as_integer, 3.0, 3),
    (as_integer, "3", 3),
    (as_integer, " -03 ", -3),
    (as_integer, "3.0", 3),
    (as_integer, "1e3", 1000),
    (as_integer, LONG, int(LONG)),
    (as_integer, 2.0**53, 2**53),
    (as_number, 2.5, 2.5),
    (as_number, 3, 3.0),
    (as_number, "2.5", 2.5),
    (as_number, ".5", 0.5),
    (as_number, "-1E-2", -0.01),
    (as_json, '{"a": [1, null]}', {"a": [1, None]}),
    (as_json, "null", None),
    (as_json, "3", 3),
    (as_json, {"a": 1}, {"a": 1}),
    (as_json, [1], [1]),
    (as_json, 3, 3),
    (as_json, False, False),
]

REFUSED: list[tuple[Callable[[Any], Any], str, list[Any]]] = [
    (as_boolean, "boolean", [None, 0, 1, 1.0, "", "yes", "1", [], {}]),
    (as_string, "string", [None, 3, 2.5, True, [], {}]),
    (as_integer, "integer", [None, True, 2.5, math.nan, math.inf, 2.0**54, "", "3a", "0x3", "1_000", "٣", "2.5"]),
    (as_integer, "integer", ["9" * 5000, "1e400", [3], {}]),
    (as_number, "number", [None, False, math.nan, math.inf, 10**400, "", "nan", "inf", "1e999", "1_0", "٣", "1,5"]),
    (as_number, "number", ["-", ".", "e3", [2.5]]),
    (as_json, "JSON", [None, "", "{", "NaN", "[Infinity]", BROKEN]),
]


@pytest.mark.parametrize(
    ("read", "value", "expected"), READ, ids=lambda part: getattr(part, "__name__", repr(part)[:20])
)
def test_what_says_a_type_is_read_as_it(read: Callable[[Any], Any], value: Any, expected: Any) -> None:
    result = read(value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("read", "kind", "value"),
    [(read, kind, value) for read, kind, values in REFUSED for value in values],
    ids=lambda part: getattr(part, "__name__", repr(part)[:20]),
)
def test_what_is_of_another_type_is_refused_with_the_type_that_was_wanted(
    read: Callable[[Any], Any], kind: str, value: Any
) -> None:
    with pytest.raises(ValueTypeError, match=f"not of the type asked for: {kind}") as caught:
        read(value)
    assert caught.value.wanted == kind
    assert caught.value.value is value
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, FlagClientError)
    assert len(str(caught.value)) < 200


def test_an_integer_that_python_does_not_write_is_still_named_in_the_error() -> None:
    with pytest.raises(ValueTypeError, match="a long int"):
        as_boolean(10**5000)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"[-+0-9.eE_ ]{1,12}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(ANYTHING)
def test_whatever_a_value_is_there_is_an_answer_or_the_one_error(value: Any) -> None:
    for read, kind in ((as_boolean, bool), (as_string, str), (as_integer, int), (as_number, float)):
        try:
            result = read(value)
        except ValueTypeError:
            continue
        assert type(result) is kind
        assert result == result  # no NaN  # noqa: PLR0124


@given(st.integers())
def test_an_integer_comes_back_exactly_from_its_own_text(number: int) -> None:
    assert as_integer(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_back_exactly_from_its_own_text(number: float) -> None:
    assert as_number(repr(number)) == number
