"""What the head of an answer says of its body, whoever wrote it."""

from __future__ import annotations

import pytest

from loadtest.swarm.head import Head


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (b"Content-Length: 12\r\n", 12),
        (b"content-length:\t0 \r\n", 0),
        (b"", -1),
        (b"Content-Length: -5\r\n", -1),
        (b"Content-Length: \xb2\r\n", -1),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", -1),
        (b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", -1),
    ],
    ids=["told", "none", "untold", "negative", "no digit", "more digits than a number may have", "chunked"],
)
def test_a_length_that_is_none_is_not_told(headers: bytes, length: int) -> None:
    assert Head(b"HTTP/1.1 200 OK\r\n" + headers).length == length
