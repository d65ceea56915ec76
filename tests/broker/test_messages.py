"""Versions and their number on the wire: exact both ways, for every version that can be."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from publisher import messages
from publisher.messages import InvalidKeyError, InvalidVersionError

GOLDEN = Path(__file__).parents[1] / "golden"
# From 2**32 seconds on (the year 2106) doubles are more than half a microsecond apart, and the way back is not exact.
LAST = 2**32 * 1_000_000 - 1
VERSIONS = st.integers(min_value=1, max_value=LAST)
NEAR_NOW = st.integers(min_value=1_400_000_000_000_000, max_value=4_100_000_000_000_000)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("nats_announcement.json", 1_735_229_888_760_123),
        ("nats_announcement_whole_second.json", 1_735_229_888_000_000),
    ],
)
def test_payloads_are_those_of_the_golden_files(name: str, version: int) -> None:
    golden = (GOLDEN / name).read_bytes()
    assert messages.encode(version) == golden
    assert messages.decode(golden) == version


@given(VERSIONS | NEAR_NOW)
@example(1)
@example(1_735_229_888_000_000)
@example(LAST)
def test_the_number_is_the_largest_double_not_above_the_time(version: int) -> None:
    seconds = messages.wire_seconds(version)
    exact = Fraction(version, 1_000_000)
    assert Fraction(seconds) <= exact
    assert Fraction(math.nextafter(seconds, math.inf)) > exact


@given(VERSIONS | NEAR_NOW)
@example(LAST)
def test_a_version_survives_the_way_there_and_back(version: int) -> None:
    number = messages.wire_number(version)
    assert messages.version_of(float(number)) == version
    assert messages.decode(messages.encode(version)) == version
    assert messages.parse_version(float(number)) == version
    assert messages.version_of(json.loads(messages.encode(version))["updated_at"]) == version


@given(NEAR_NOW)
def test_the_number_always_has_a_decimal_point_and_the_payload_is_short(version: int) -> None:
    number = messages.wire_number(version)
    assert "." in number
    assert "e" not in number
    assert len(messages.encode(version)) < 100


@given(NEAR_NOW, NEAR_NOW)
def test_newer_is_greater_on_the_wire_too(one: int, other: int) -> None:
    assert (one < other) == (messages.wire_seconds(one) < messages.wire_seconds(other))


NUMBERS = st.floats().map(lambda number: f'{{"updated_at": {number!r}}}'.encode())


@given(st.binary(max_size=200) | NUMBERS)
def test_whatever_comes_off_the_wire_is_a_version_or_refused_by_name(payload: bytes) -> None:
    try:
        assert 0 < messages.decode(payload) < 2**53
    except InvalidVersionError:
        return


ISO = 1_795_221_306_250_875


@pytest.mark.parametrize(
    ("value", "version"),
    [
        ("2026-11-21T00:35:06.250875+00:00", ISO),
        ("2026-11-21T00:35:06.250875Z", ISO),
        ("2026-11-21T00:35:06.250875", ISO),
        ("2026-11-21 00:35:06.250875", ISO),
        ("2026-11-21T02:35:06.250875+02:00", ISO),
        ("2026-11-20T19:35:06.250875-05:00", ISO),
        ("2026-11-21T00:35:06Z", ISO - 250_875),
        (1_795_221_306, ISO - 250_875),
        (1_795_221_306.250875, ISO),
    ],
)
def test_times_from_outside_are_read(value: object, version: int) -> None:
    assert messages.parse_version(value) == version


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, [], {}, b"2026", "", "now", "1795221306", "2026-11-21", "2026-13-21T00:00:00Z"),
        *("2026-11-21T25:00:00Z", 0, -1, -1.5, float("nan"), float("inf"), "1969-12-31T23:59:59Z"),
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidVersionError):
        messages.parse_version(value)


@pytest.mark.parametrize("key", ["a", "A-b_9", "x" * 128])
def test_a_key_and_its_subject_belong_together(key: str) -> None:
    assert messages.key_of(messages.subject(key)) == key


@pytest.mark.parametrize("key", ["", "a.b", "a b", "*", ">", "a\n", "ü", "x" * 129, "a/b"])
def test_what_cannot_be_a_subject_is_no_key(key: str) -> None:
    assert not messages.is_key(key)
    with pytest.raises(InvalidKeyError):
        messages.subject(key)
    assert messages.key_of(f"flags.environment.{key}.updated") is None


@pytest.mark.parametrize(
    "subject", ["", "flags", "flags.environment.a", "flags.environment.a.deleted", "x.environment.a.updated"]
)
def test_other_subjects_have_no_key(subject: str) -> None:
    assert messages.key_of(subject) is None


def test_five_minutes_ahead_is_the_limit() -> None:
    clock = 1_735_229_888_760_123
    assert not messages.is_too_far_ahead(clock + 300_000_000, clock)
    assert messages.is_too_far_ahead(clock + 300_000_001, clock)


def test_the_expected_sequence_is_the_header_that_jetstream_knows() -> None:
    assert messages.expected_sequence(7) == {"Nats-Expected-Last-Subject-Sequence": "7"}
