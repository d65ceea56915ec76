"""The bytes of a stream are those of the golden files, which the client is tested against, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_server.frames import HEARTBEAT, Frame, encode_event, encode_opening

GOLDEN = Path(__file__).parents[1] / "golden"
VERSION = 1735229888760123

BLOCKS = {
    "stream_opening.sse": encode_opening(Frame(VERSION), 2000),
    "stream_opening_unknown.sse": encode_opening(None, 2000),
    "stream_event.sse": encode_event(VERSION),
    "stream_event_whole_second.sse": encode_event(1735229888000000),
    "stream_heartbeat.sse": HEARTBEAT,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_bytes_are_those_of_the_golden_file(name: str) -> None:
    assert BLOCKS[name] == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", BLOCKS)
def test_lines_end_with_lf_and_fields_are_event_data_retry_and_comments_only(name: str) -> None:
    block = (GOLDEN / name).read_bytes()
    assert b"\r" not in block
    assert block.endswith(b"\n\n")
    fields = {line.split(b":")[0] for line in block.split(b"\n") if line}
    assert fields <= {b"event", b"data", b"retry", b""}


def test_number_has_a_decimal_point_even_on_a_whole_second() -> None:
    assert b'{"updated_at": 1735229888.0}' in encode_event(1735229888000000)
