"""Clients that misbehave in every way at once, for some seconds; benchmarks/hostile is the long form."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.hostile import __main__ as command
from benchmarks.hostile.answers import Ask, Body, WrongError, read_answers
from benchmarks.hostile.clients import BEHAVIOURS, PLAIN_ONLY
from benchmarks.hostile.storm import Storm, run
from stream_server.frames import encode_chunk
from tests.servers import missing

STREAM = Ask(b"", 200, Body.CHUNKS)
PLAIN = Ask(b"", 404, Body.LENGTH)
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-stream-lifetime: 2\r\n\r\n"
OPENING = encode_chunk(b'event: environment_updated\ndata: {"updated_at": 1735229888.5}\nretry: 2000\n\n')
NEWER = encode_chunk(b'event: environment_updated\ndata: {"updated_at": 1735229889.5}\n\n')
PING = encode_chunk(b": ping\n\n")
LAST = b"0\r\n\r\n"
WHOLE = HEAD + OPENING + PING + NEWER + LAST
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_every_client_of_a_storm_gets_what_it_asked_for_and_nothing_is_left_of_any(tls: bool) -> None:
    if tls and shutil.which("openssl") is None:
        missing("openssl", "openssl")
    outcome = run(Storm(seconds=2.5, clients=60, seed=20261121, tls=tls))
    assert not outcome.faults
    assert set(outcome.visits) == {each.__name__ for each in BEHAVIOURS if not (tls and each in PLAIN_ONLY)}
    assert outcome.streams > 30
    assert outcome.told > outcome.published > 0


def test_the_command_says_what_it_did_and_keeps_to_its_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    only = ["--only", "loses_interest", "talks_garbage"]
    assert command.main(["--seconds", "60", "--clients", "3", "--visits", "7", "--seed", "1", *only]) == 0
    told = capsys.readouterr().out
    assert "| talks_garbage  | 3 " in told
    assert "FAULT" not in told
    with pytest.raises(SystemExit):
        command.main(["--clients", "1000"])


def test_answers_are_read_in_their_order_and_in_part_where_the_client_left() -> None:
    stream, plain = read_answers(WHOLE + NOT_FOUND, [STREAM, PLAIN])
    assert stream.versions == (1735229888500000, 1735229889500000)
    assert stream.lifetime == 2
    assert stream.whole
    assert plain.whole
    for end in range(1, len(WHOLE)):
        [part] = read_answers(WHOLE[:end], [STREAM, PLAIN])
        assert not part.whole


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (WHOLE + LAST, "no head"),
        (WHOLE + NOT_FOUND + b"x", "nothing was asked for"),
        (NOT_FOUND, "404 in place of 200"),
        (HEAD.replace(b"x-stream-lifetime: 2\r\n", b"") + OPENING, "no lifetime"),
        (HEAD.replace(b"transfer-encoding: chunked", b"content-length: 9"), "not told by chunks"),
        (HEAD + NEWER + LAST, "block 0 is"),
        (HEAD + OPENING + OPENING, "block 1 is"),
        (HEAD + OPENING + NEWER + NEWER, "behind"),
        (HEAD + OPENING + NEWER[4:], "no size of a chunk"),
        (HEAD + OPENING[:40] + NEWER, "goes on"),
        (HEAD + OPENING + b"9\r\n: ping\n\n\n\r\n", "no block of a stream"),
        (HEAD + OPENING + PING.replace(b"8", b"08"), "no size of a chunk"),
    ],
)
def test_what_is_wrong_in_an_answer_is_found(data: bytes, message: str) -> None:
    with pytest.raises(WrongError, match=message):
        read_answers(data, [STREAM, PLAIN])
