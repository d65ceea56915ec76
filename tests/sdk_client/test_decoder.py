"""The rules of the HTML standard, section 9.2.6, and the cases of the web platform tests, restated as a table."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_client import StreamLimitError
from sdk_client.decoder import Comment, Decoder, Event, Item, Retry


def decode(*pieces: bytes) -> list[Item]:
    decoder = Decoder()
    return [item for piece in pieces for item in decoder.feed(piece)]


def message(data: str, kind: str = "message", last_id: str = "") -> Event:
    return Event(kind, data, last_id)


CASES: dict[str, tuple[bytes, list[Item]]] = {
    "nothing": (b"", []),
    "one event": (b"data: a\n\n", [message("a")]),
    "lines are joined by line feeds": (b"data: a\ndata: b\n\n", [message("a\nb")]),
    "an event cut short by the end is dropped": (b"data: a\n", []),
    "so is one whose blank line is half there": (b"data: a\n\ndata: b", [message("a")]),
    "one space after the colon goes, one only": (
        b"data:a\n\ndata: b\n\ndata:  c\n\n",
        [*map(message, ("a", "b", " c"))],
    ),
    "other white space stays": (b"data:\ta\n\n", [message("\ta")]),
    "a field without colon has an empty value": (b"data\n\ndata\ndata\n\n", [message(""), message("\n")]),
    "empty data is data": (b"data:\n\n", [message("")]),
    "no data, no event": (b"event: a\n\nid: 1\n\n\n", []),
    "the type is per event": (b"event: a\ndata: 1\n\ndata: 2\n\n", [message("1", "a"), message("2")]),
    "the type of an event without data is forgotten": (b"event: a\n\ndata: 1\n\n", [message("1")]),
    "the last type counts, and an empty one is message": (
        b"event: a\nevent: b\ndata: 1\n\nevent: a\nevent:\ndata: 2\n\n",
        [message("1", "b"), message("2")],
    ),
    "carriage returns end lines": (b"data: a\rdata: b\r\r", [message("a\nb")]),
    "both together end one line": (b"data: a\r\ndata: b\r\n\r\n", [message("a\nb")]),
    "all kinds mixed": (b"data: a\n\r\ndata: b\r\rdata: c\r\n\n", [message("a"), message("b"), message("c")]),
    "line feed and carriage return are two ends": (b"data: a\n\rdata: b\n\n", [message("a"), message("b")]),
    "other line separators are data": (
        "data: a\u2028b\x0bc\x0cd\x85e\n\n".encode(),
        [message("a\u2028b\x0bc\x0cd\x85e")],
    ),
    "a byte order mark at the start goes": (b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
    "one only": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [message("b")]),
    "and at the start only": (b"\n\xef\xbb\xbfdata: a\n\n", []),
    "a mark within data stays": (b"data: \xef\xbb\xbfa\n\n", [message("\ufeffa")]),
    "broken UTF-8 is replaced": (b"data: \xff\xe2\x82\n\n", [message("\ufffd\ufffd")]),
    "UTF-8": ("data: äöü €\n\n".encode(), [message("äöü €")]),
    "a null character is data": (b"data: a\0b\n\n", [message("a\0b")]),
    "names are exact": (b"Data: a\n data: b\ndata : c\ndatas: d\n\n", []),
    "a comment is an item, not data": (b": ping\ndata: a\n:\n\n", [Comment(" ping"), Comment(""), message("a")]),
    "retry": (b"retry: 2000\n", [Retry(2000)]),
    "retry takes digits only": ("retry: 1 \nretry: +1\nretry: 1.5\nretry: x\nretry:\nretry: ٣\n".encode(), []),
    "retry leaves the event alone": (b"data: a\nretry: 3\ndata: b\n\n", [Retry(3), message("a\nb")]),
    "retry with too many digits to matter": (b"retry: " + b"9" * 5000 + b"\n", [Retry(999_999_999_999)]),
    "an id stays for the events after it": (
        b"id: 1\ndata: a\n\ndata: b\n\n",
        [message("a", last_id="1"), message("b", last_id="1")],
    ),
    "an empty id takes it back": (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message("a", last_id="1"), message("b")]),
    "an id with a null character is ignored": (
        b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n",
        [message("a", last_id="1"), message("b", last_id="1")],
    ),
    "an id without data counts": (b"id: 1\n\ndata: a\n\n", [message("a", last_id="1")]),
    "unknown fields are ignored": (b"what: 1\ndata: a\nx\n\n", [message("a")]),
    "colons within data": (b"data::a:b\n\n", [message(":a:b")]),
    "what our server sends": (
        b'event: environment_updated\ndata: {"updated_at": 1.5}\nretry: 2000\n\n: ping\n\n',
        [Retry(2000), message('{"updated_at": 1.5}', "environment_updated"), Comment(" ping")],
    ),
}


@pytest.mark.parametrize(("body", "items"), CASES.values(), ids=CASES.keys())
def test_the_standard(body: bytes, items: list[Item]) -> None:
    assert decode(body) == items


@pytest.mark.parametrize(("body", "items"), CASES.values(), ids=CASES.keys())
def test_byte_by_byte_gives_the_same(body: bytes, items: list[Item]) -> None:
    assert decode(*(body[i : i + 1] for i in range(len(body)))) == items


def test_an_event_is_there_as_soon_as_its_blank_line_is_even_if_that_ends_in_a_carriage_return() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"data: a\r\n\r")) == [message("a")]
    assert list(decoder.feed(b"")) == []
    assert list(decoder.feed(b"\ndata: b\r")) == []
    assert list(decoder.feed(b"\r")) == [message("b")]


def outcome(pieces: list[bytes]) -> tuple[list[Item], str]:
    decoder = Decoder(max_line=24, max_event=40)
    items: list[Item] = []
    try:
        for piece in pieces:
            for item in decoder.feed(piece):
                items.append(item)  # noqa: PERF402 - what came before the error has to be kept
    except StreamLimitError as error:
        return items, error.what
    return items, ""


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:bb",
        b"data",
        b"event: e",
        b"id: 1",
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
        b"data: " + b"z" * 30,
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
BODIES = st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=30).map(b"".join) | st.binary(max_size=80)


@given(body=BODIES, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_any_body_gives_the_same_items_and_the_same_error(body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]
    assert outcome(pieces) == outcome([body])


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"x" * 65_537, "a line"),
        (b": " + b"x" * 70_000 + b"\n", "a line"),
        ((b"data: " + b"x" * 60_000 + b"\n") * 5, "an event"),
    ],
)
def test_a_line_or_an_event_without_end_is_an_error_that_says_so(body: bytes, what: str) -> None:
    with pytest.raises(StreamLimitError, match=f"{what} of the stream is longer than"):
        decode(body)


def test_a_limit_is_met_by_what_is_buffered_not_by_what_passed() -> None:
    decoder = Decoder(max_line=10, max_event=10)
    for _ in range(1000):
        assert list(decoder.feed(b"data: abc\n\n")) == [message("abc")]
