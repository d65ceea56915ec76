"""What a conductor and an agent on another host say to each other, each message with its length before it.

The conductor greets with a token, is told what the agent's host can hold, and asks for generators. After that the bytes
of orders and answers (`loadtest.messages`) pass through as they are, with the number of the generator that they are of.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

__all__ = ["FORMAT", "Enlist", "Gone", "Hello", "Passed", "Refused", "Speech", "Welcome", "packed", "unpacked"]

FORMAT: Final = 1
LENGTH: Final = struct.Struct("!I")


class Speech(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """What all have: their name."""


class Hello(Speech, frozen=True, kw_only=True):
    """The conductor's first word."""

    token: str
    format: int = FORMAT


class Refused(Speech, frozen=True, kw_only=True):
    """The agent's answer to one that it does not work for; it hangs up."""

    reason: str


class Welcome(Speech, frozen=True, kw_only=True):
    """The agent's answer: its cores, and how many files a process of it may have open."""

    cores: int
    files: int


class Enlist(Speech, frozen=True, kw_only=True):
    """The conductor wants so many generators, numbered from 0."""

    generators: int


class Passed(Speech, frozen=True, kw_only=True):
    """Bytes to or from one generator."""

    generator: int
    data: bytes


class Gone(Speech, frozen=True, kw_only=True):
    """One generator says nothing any more: how it ended, and its last words."""

    generator: int
    reason: str


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Hello | Refused | Welcome | Enlist | Passed | Gone)


def packed(speech: Speech) -> bytes:
    """Return the bytes of a message."""
    body = _ENCODER.encode(speech)
    return LENGTH.pack(len(body)) + body


def unpacked(body: bytes) -> Hello | Refused | Welcome | Enlist | Passed | Gone:
    """Return the message in a body; raises ValueError where it is none."""
    try:
        speech: Hello | Refused | Welcome | Enlist | Passed | Gone = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"that is no message of a load test: {error}") from None
    return speech
