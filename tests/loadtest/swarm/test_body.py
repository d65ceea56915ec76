"""Bodies mean the same however they are cut, and a piece that is known means what it did when it was read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm.body import END, HEARTBEAT, INVALID, RETRY, Body, BodyError, Meanings
from publisher.messages import wire_number

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
