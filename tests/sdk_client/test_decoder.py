"""The decoder against the tables of `tests/sdk_client/tables`, and against the standard's own steps on any bytes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdk_client.decoder import Comment, Decoder, Event, Item, Retry
from sdk_client.errors import StreamLimitError
from tests.sdk_client.tables.cases import Case, load

TABLES = ("standard", "web_platform_tests", "sse_contract_tests")
CASES = [pytest.param(case, id=f"{table}: {case}") for table in TABLES for case in load(table)]


def decode(*pieces: bytes) -> list[Item]:
    decoder = Decoder()
    return [item for piece in pieces for item in decoder.feed(piece)]


def follow(case: Case, pieces: Iterable[bytes]) -> tuple[tuple[Item, ...], str]:
    decoder = Decoder(last_event_id=case.start_id)
    items = tuple(item for piece in pieces for item in decoder.feed(piece))
    return items, decoder.last_event_id


@pytest.mark.parametrize("case", CASES)
def test_the_bytes_of_a_table_become_its_items(case: Case) -> None:
    items, last_event_id = follow(case, case.pieces)
    assert items == case.items
    assert case.last_event_id in (None, last_event_id)


@pytest.mark.parametrize("case", CASES)
def test_whole_or_byte_by_byte_gives_the_same(case: Case) -> None:
    body = case.body
    whole = follow(case, [body])
    assert whole[0] == case.items
    assert follow(case, (body[i : i + 1] for i in range(len(body)))) == whole


def test_an_event_is_there_as_soon_as_its_blank_line_is_even_if_that_ends_in_a_carriage_return() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"data: a\r")) == []
    assert list(decoder.feed(b"\r")) == [Event("message", "a", "")]
    assert list(decoder.feed(b"\ndata: b\n\n")) == [Event("message", "b", "")]


def steps_of_the_standard(body: bytes) -> tuple[list[Item], str]:
    """HTML standard, 9.2.6, word for word and slowly: decode all, split into lines, take them one by one."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    items: list[Item] = []
    data = kind = buffer = last = ""
    for line in re.split("\r\n|\n|\r", text)[:-1]:
        if not line:
            last = buffer
            if data:
                items.append(Event(kind or "message", data[:-1], buffer))
            data = kind = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            items.append(Comment(line[1:]))
        elif name == "event":
            kind = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            buffer = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            items.append(Retry(int(value[:12])))
    return items, last


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:bb",
        b"data",
        b"event: e",
        b"id: 1",
        b"id: 2\x00",
        b"id",
        b"retry: 5",
        b": c",
        b"",
        b"",
        b"x" * 23,
        b"data: " + b"y" * 18,
        b"data: " + "€".encode() * 5,
        b"\xef\xbb\xbfdata: m",
        b"data: \xff",
        b"data: \xf0\x9f\x98",
        b"data: " + b"z" * 30,
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINE_BY_LINE = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=30).map(b"".join)
# Bytes that mean something to a decoder of UTF-8 or of event streams, thrown together without sense.
NOISE = st.lists(
    st.sampled_from(
        [
            b"data",
            b"event",
            b"id",
            b"retry",
            b":",
            b" ",
            b"\r",
            b"\n",
            b"\n\n",
            b"\0",
            b"7",
            b"\xef",
            b"\xbb",
            b"\xbf",
            b"\xe2",
            b"\x82",
            b"\xac",
            b"\xf4",
            b"\xed",
            b"\x80",
            b"\xc0",
            b"\x85",
            b"\xe2\x80\xa8",
        ]
    ),
    max_size=60,
).map(b"".join)
BODIES = LINE_BY_LINE | NOISE | st.binary(max_size=80)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(place, len(body)) for place in cuts), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(places)]


@given(body=BODIES, cuts=CUTS)
def test_any_split_of_any_bytes_follows_the_standards_own_steps(body: bytes, cuts: list[int]) -> None:
    decoder = Decoder()
    items = [item for piece in cut(body, cuts) for item in decoder.feed(piece)]
    assert (items, decoder.last_event_id) == steps_of_the_standard(body)


def outcome(pieces: list[bytes]) -> tuple[list[Item], str]:
    decoder = Decoder(max_line=24, max_event=40)
    items: list[Item] = []
    try:
        for piece in pieces:
            for item in decoder.feed(piece):
                items.append(item)  # noqa: PERF402 - what came before the error has to be kept
            assert len(decoder._partial) <= 24
            assert sum(map(len, decoder._data)) <= 40
    except StreamLimitError as error:
        return items, error.what
    return items, ""


@given(body=BODIES, cuts=CUTS)
@example(body=b"\xef\xbb\xbf" + b"x" * 22 + b"\n", cuts=[25])  # the mark counts, whenever the line's end comes
def test_any_split_of_any_bytes_meets_the_same_limit_after_the_same_items(body: bytes, cuts: list[int]) -> None:
    assert outcome(cut(body, cuts)) == outcome([body])


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"x" * 65_537, "a line"),
        (b": " + b"x" * 70_000 + b"\n", "a line"),
        ((b"data: " + b"x" * 60_000 + b"\n") * 5, "an event"),
        (b"data\n" * 262_145, "an event"),
    ],
    ids=["a line without end", "a comment", "five long lines", "lines without data"],
)
def test_a_line_or_an_event_without_end_is_an_error_that_says_so(body: bytes, what: str) -> None:
    with pytest.raises(StreamLimitError, match=f"{what} of the stream is longer than"):
        decode(body)


def test_a_limit_is_met_by_what_is_buffered_not_by_what_passed() -> None:
    decoder = Decoder(max_line=10, max_event=10)
    for _ in range(1000):
        assert list(decoder.feed(b"data: abc\n\n")) == [Event("message", "abc", "")]
