"""Bodies mean the same however they are cut, and a piece that is known means what it did when it was read."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm.body import BEGINS, END, HEARTBEAT, INVALID, RETRY, Body, BodyError, Meanings
from publisher.messages import wire_number
from sdk_client.decoder import Comment, Decoder, Retry
from sdk_client.versions import event_version

PARTS: dict[str, Callable[[int], bytes]] = {
    "event": lambda version: (
        b'event: environment_updated\ndata: {"updated_at": %s}\n\n' % wire_number(version).encode()
    ),
    "comment": lambda _: b": ping\n\n",
    "retry": lambda milliseconds: b"retry: %d\n\n" % (milliseconds % 100_000),
    "broken": lambda _: b"data: {not json}\n\n",
}
part = st.tuples(st.sampled_from(sorted(PARTS)), st.integers(1_600_000_000_000_000, 1_900_000_000_000_000))


def meaning(kind: str, number: int) -> int:
    return {"event": number, "comment": HEARTBEAT, "retry": RETRY - number % 100_000, "broken": INVALID}[kind]


def chunked(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)


@given(st.lists(part, max_size=12), st.booleans(), st.data())
def test_any_cut_of_a_chunked_body_gives_the_same_items(
    parts: list[tuple[str, int]], ends: bool, data: st.DataObject
) -> None:
    body = b"".join(chunked(PARTS[kind](number)) for kind, number in parts) + (b"0\r\n\r\n" if ends else b"")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=8))) if body else []
    meanings, unfinished, found = Meanings(), None, []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        piece = body[start:end]
        if not piece:
            continue
        if unfinished is None and piece in meanings.known:
            read: int | list[int] = meanings.known[piece]
        elif unfinished is None:
            read, unfinished = meanings.read(piece)
        else:
            read, finished = unfinished.feed(piece)
            unfinished = None if finished else unfinished
        found += read if isinstance(read, list) else [read]
    assert found == [meaning(*each) for each in parts] + ([END] if ends else [])


@pytest.mark.parametrize("size", [1, 3, 40])
def test_a_body_ends_after_its_trailers(size: int) -> None:
    text = b"8\r\n: ping\n\n\r\n0;last\r\nServer-Timing: a\r\nChecked: yes\r\n\r\n"
    body, found = Body(chunked=True), list[int]()
    for start in range(0, len(text), size):
        assert END not in found
        more, finished = body.feed(text[start : start + size])
        found += more
    assert (found, finished) == ([HEARTBEAT, END], True)


def test_trailers_and_sizes_without_an_end_break_the_framing() -> None:
    for begin in (b"0\r\n", b""):
        with pytest.raises(BodyError, match="without"):
            Body(chunked=True).feed(begin + b"1" * 70_000)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_chunks_break_the_framing_and_nothing_else(data: bytes) -> None:
    try:
        found, _ = Body(chunked=True).feed(data)
    except BodyError:
        return
    assert all(isinstance(each, int) for each in found)


@pytest.mark.parametrize("broken", [b"-6\r\n", b"zz\r\n", b"1\r\nxyz"], ids=["negative", "no number", "too long"])
def test_what_was_whole_before_the_framing_broke_is_found(broken: bytes) -> None:
    with pytest.raises(BodyError) as raised:
        Body(chunked=True).feed(b"8\r\n: ping\n\n\r\n" + broken)
    assert raised.value.found == [HEARTBEAT]


LINES = (
    b'data: {"updated_at": 1735229888.7601228}',
    b'data:{"updated_at":',
    b"data: 1735229888.7601228}",
    b"data",
    b"event: environment_updated",
    b"event: something else",
    b'\xef\xbb\xbfdata: {"updated_at": 1735229888.7601228}',
    b"\xef",
    b"id: 7",
    b"id: \0",
    b"retry: 2000",
    b"retry: 999999999999999999",
    b"retry: soon",
    b": there",
    b":",
    b"nonsense",
    b"",
    b"",
)
line = st.tuples(st.sampled_from(LINES), st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))


def decoded(text: bytes) -> list[int]:
    """Return what the SDK's own decoder makes of a whole body."""
    found = []
    for item in Decoder().feed(text):
        if isinstance(item, Comment):
            found.append(HEARTBEAT)
        elif isinstance(item, Retry):
            found.append(RETRY - item.milliseconds)
        else:
            try:
                found.append(event_version(item.data))
            except ValueError:
                found.append(INVALID)
    return found


def pieces(data: st.DataObject, whole: bytes, most: int = 6) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=most)))
    return [whole[a:b] for a, b in itertools.pairwise([0, *cuts, len(whole)]) if a < b]


def read_as_a_stream(meanings: Meanings, read: list[bytes]) -> list[int]:
    unfinished: Body | None = BEGINS
    found: list[int] = []
    for piece in read:
        if unfinished is None or unfinished is BEGINS:
            known, first, unfinished = meanings.known.get(piece), unfinished is BEGINS, None
            if known is None:
                known, unfinished = meanings.read(piece, first=first)
            found += known if isinstance(known, list) else [known]
        else:
            more, finished = unfinished.feed(piece)
            found += more
            unfinished = None if finished else unfinished
    return found


@given(st.lists(line, max_size=14), st.booleans(), st.data())
def test_any_lines_however_chunked_and_cut_mean_what_the_sdk_reads_in_them(
    lines: list[tuple[bytes, bytes]], marked: bool, data: st.DataObject
) -> None:
    text = b"\xef\xbb\xbf" * marked + b"".join(text + end for text, end in lines)
    expected = decoded(text)
    body = b"".join(map(chunked, pieces(data, text)))
    meanings = Meanings()
    for _ in range(3):  # of which the later ones meet pieces that are known
        assert read_as_a_stream(meanings, pieces(data, body)) == expected


def test_a_byte_order_mark_is_dropped_at_the_very_beginning_and_spoils_any_other_line() -> None:
    mark, text = b"\xef\xbb\xbf", b'data: {"updated_at": 1735229888.7601228}\n\n'
    expected = decoded(mark + text)
    assert (len(expected), decoded((mark + text) * 2)) == (1, expected)
    meanings = Meanings()
    for piece in (chunked(mark + text), chunked(b"\xef") + chunked(b"\xbb\xbf" + text)):
        for _ in range(2):
            assert read_as_a_stream(meanings, [piece, piece]) == expected
        assert read_as_a_stream(meanings, [chunked(text), piece]) == expected


@given(st.lists(line, max_size=14), st.binary(max_size=9), st.data())
def test_a_body_with_a_length_ends_there_whatever_follows(
    lines: list[tuple[bytes, bytes]], more: bytes, data: st.DataObject
) -> None:
    text = b"".join(text + end for text, end in lines) + b"\n"
    body, found, finished = Body(chunked=False, length=len(text)), [], False
    for piece in pieces(data, text + more):
        if not finished:
            each, finished = body.feed(piece)
            found += each
    assert finished
    assert found == [*decoded(text), END]
