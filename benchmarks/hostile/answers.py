"""What a server has sent on one connection, byte for byte: nothing is skipped, nothing is taken on trust.

A client that misbehaves must get exactly what it asked for all the same, or a part of it where it left before the end.
Chunks are those of RFC 9112, section 7.1, as this project writes them: one a block, without extensions or trailers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from publisher.messages import version_of

__all__ = ["Answer", "Ask", "Body", "WrongError", "read_answers"]

HEAD: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]+((?:\r\n[!-9;-~]+: [ -~]*)*)\r\n\r\n")
SIZE: Final = re.compile(rb"[1-9a-f][0-9a-f]{0,7}|0")
EVENT: Final = rb'event: environment_updated\ndata: \{"updated_at": ([0-9.e+]+)\}\n'
BLOCK: Final = re.compile(rb"(?:" + EVENT + rb")?retry: [0-9]+\n\n|" + EVENT + rb"\n|: ping\n\n")
LONGEST_BLOCK: Final = 200


class WrongError(Exception):
    """What came is not what the connection should have carried."""


class Body(Enum):
    """How the end of an answer is known."""

    CHUNKS = "chunks"
    """A stream."""
    LENGTH = "length"
    UNTIL_CLOSE = "until close"
    """A stream to a client of HTTP/1.0."""
    NONE = "none"
    """The answer to HEAD."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request's bytes, and the answer that it must get."""

    request: bytes
    status: int
    body: Body


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `lifetime` as a stream announces it, in seconds, and the versions that it told, in order."""

    ask: Ask
    whole: bool
    lifetime: float = 0.0
    versions: tuple[int, ...] = ()


def read_answers(data: bytes, asks: Sequence[Ask]) -> list[Answer]:
    """Return the answers in `data`; only the last can be in part, and only because `data` ends there.

    Raises `WrongError` for anything else than the answers to `asks`, in their order.
    """
    answers: list[Answer] = []
    for ask in asks:
        if not data or (answers and not answers[-1].whole):
            break
        answer, data = _answer(data, ask)
        answers.append(answer)
    if data and (not answers or answers[-1].whole):
        raise WrongError(f"nothing was asked for that would explain {data[:60]!r}")
    return answers


def _answer(data: bytes, ask: Ask) -> tuple[Answer, bytes]:
    """Take one answer off `data`; return it and what is left."""
    if b"\r\n\r\n" not in data:
        return Answer(ask, whole=False), b""
    found = HEAD.match(data)
    if found is None:
        raise WrongError(f"no head: {data[:60]!r}")
    if int(found[1]) != ask.status:
        raise WrongError(f"{int(found[1])} in place of {ask.status}")
    headers = dict(line.lower().split(b": ", 1) for line in found[2].split(b"\r\n") if line)
    rest = data[found.end() :]
    if ask.body is Body.NONE:
        return Answer(ask, whole=True), rest
    is_chunked = headers.get(b"transfer-encoding") == b"chunked"
    if is_chunked != (ask.body is Body.CHUNKS) or (b"content-length" in headers) != (ask.body is Body.LENGTH):
        raise WrongError(f"the body's end is not told by {ask.body.value}: {found[0]!r}")
    if ask.body is Body.LENGTH:
        length = int(headers[b"content-length"])
        return Answer(ask, whole=len(rest) >= length), rest[length:]
    if b"x-stream-lifetime" not in headers:
        raise WrongError(f"no lifetime: {found[0]!r}")
    if ask.body is Body.UNTIL_CLOSE:
        blocks, whole, rest = _blocks(rest), rest.endswith(b"\n\n"), b""
    else:
        chunks, whole, rest = _chunks(rest)
        blocks = iter(chunks)
    return Answer(ask, whole, float(headers[b"x-stream-lifetime"]), tuple(_versions(blocks))), rest


def _chunks(data: bytes) -> tuple[list[bytes], bool, bytes]:
    """Return the whole chunks, whether the final one is there, and what is behind it."""
    chunks: list[bytes] = []
    position = 0
    while True:
        end = data.find(b"\r\n", position)
        size = data[position : end if end >= 0 else len(data)]
        if not SIZE.fullmatch(size.rstrip(b"\r") or b"0"):
            raise WrongError(f"no size of a chunk: {data[position : position + 60]!r}")
        if end < 0:
            return chunks, False, b""
        start, position = end + 2, end + 4 + int(size, 16)
        chunk = data[start : position - 2]
        if not b"\r\n".startswith(data[position - 2 : position]):
            raise WrongError(f"a chunk of {int(size, 16)} bytes goes on: {data[start : position + 20]!r}")
        if position > len(data):
            return chunks, False, b""
        if not chunk:
            return chunks, True, data[position:]
        chunks.append(chunk)


def _blocks(data: bytes) -> Iterator[bytes]:
    """Yield the whole blocks of a stream without chunks."""
    for block in data.split(b"\n\n")[:-1]:
        yield block + b"\n\n"


def _versions(blocks: Iterator[bytes]) -> Iterator[int]:
    """Yield the versions that `blocks` tell; each must be newer than the one before it."""
    newest = 0
    for number, block in enumerate(blocks):
        found = BLOCK.fullmatch(block) if len(block) < LONGEST_BLOCK else None
        if found is None:
            raise WrongError(f"no block of a stream: {block[:60]!r}")
        if (b"retry:" in block) != (number == 0):
            raise WrongError(f"block {number} is {block!r}")
        told = found[1] or found[2]
        if told is None:
            continue
        version = version_of(float(told))
        if version <= newest:
            raise WrongError(f"version {version} behind {newest}")
        newest = version
        yield version
