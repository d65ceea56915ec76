from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher import messages
from sdk_client import versions

VERSIONS = st.integers(1, 2**32 * 10**6)  # until 2106; doubles of seconds are coarser than microseconds after that


@given(VERSIONS)
def test_what_the_publisher_writes_is_read_back_exactly(version: int) -> None:
    assert versions.event_version(f'{{"updated_at": {messages.wire_number(version)}}}') == version
    assert versions.seconds_of(version) == messages.wire_seconds(version)


@given(st.integers(1, 2**52))
def test_header_seconds_of_six_decimals_are_exact(version: int) -> None:
    text = f"{version // 10**6}.{version % 10**6:06d}"
    assert versions.decimal_seconds(text) == version == round(Fraction(text) * 10**6)
    assert versions.digits(str(version)) == version


@pytest.mark.parametrize(
    "data",
    [
        "",
        "1",
        "null",
        "[]",
        "{}",
        "x" * 100,
        "[" * 60_000,
        '{"updated_at": null}',
        '{"updated_at": "1.5"}',
        '{"updated_at": true}',
        '{"updated_at": NaN}',
        '{"updated_at": Infinity}',
        '{"updated_at": -1.5}',
        '{"updated_at": 0.0}',
        '{"updated_at": 1e300}',
        '{"updated_at": 1735229888760.1}',
        '{"updated_at": 9007199254740993}',
        '{"updated_at": 1' + "0" * 5000 + "}",
    ],
)
def test_an_event_that_is_no_time_is_a_value_error(data: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract, the words differ
        versions.event_version(data)


def test_whole_seconds_are_taken_too() -> None:
    assert versions.event_version(json.dumps({"updated_at": 1735229888})) == 1735229888 * 10**6


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "1.5.5", " 1", "٣", "1" * 40, "9" * 16])
def test_a_header_that_makes_no_sense_counts_as_absent(text: str) -> None:
    assert versions.digits(text) == 0 or text == "1.5"
    assert versions.decimal_seconds(text) == 0
