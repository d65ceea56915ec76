"""The pure parts, by examples that a machine makes up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher import names, values
from publisher.api import bodies
from publisher.api.problems import MalformedError
from publisher.errors import InvalidError, StaleError
from publisher.expectation import ANY, Expectation

integers = st.integers(-values.LARGEST_INTEGER, values.LARGEST_INTEGER)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, st.text())
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(anything)
def test_every_value_survives_storage_and_reaches_sdks_as_a_scalar(value: Any) -> None:
    text = values.to_text(value)
    assert values.from_text(text) == value
    assert not isinstance(values.for_sdk(text), dict | list)
    text.encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_clear_refusal(raw: bytes) -> None:
    try:
        content = bodies.parse(raw)
    except MalformedError as error:
        assert str(error).startswith(("the body is", "the number", "the name"))  # noqa: PT017 - both ways are right
    else:
        json.dumps(content, allow_nan=False)


@given(st.text(max_size=120))
def test_any_text_is_a_name_or_a_clear_refusal(text: str) -> None:
    try:
        checked = names.checked(text, in_path=True)
    except InvalidError as error:
        (fault,) = error.faults
        assert (fault.field, fault.message.startswith("must ")) == ("name", True)
        assert not names.is_feature_name(text)
    else:
        assert checked == text
        assert "/" not in text
        assert "\x00" not in text


@pytest.mark.parametrize(
    ("expected", "current", "by_header"),
    [
        (Expectation(frozenset({1}), None), 2, True),
        (Expectation(frozenset(), None), 1, True),
        (Expectation(None, 1), 2, False),
        (Expectation(frozenset({1}), 1), 2, True),  # the header is looked at first
        (Expectation(frozenset({2}), 1), 2, False),
    ],
)
def test_what_the_caller_did_not_see_is_stale(expected: Expectation, current: int, by_header: bool) -> None:
    with pytest.raises(StaleError) as refused:
        expected.check(current)
    assert (refused.value.current, refused.value.by_header) == (current, by_header)


def test_who_expects_nothing_is_never_stale() -> None:
    ANY.check(7)
    Expectation(frozenset({6, 7}), 7).check(7)
