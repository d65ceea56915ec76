"""Messages as bytes: MessagePack, each with its length before it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from loadtest.messages.answers import Answer
from loadtest.messages.message import Message
from loadtest.messages.orders import Order

__all__ = ["Unpacker", "packed"]

MAX_MESSAGE: Final = 64 << 20
_LENGTH: Final = struct.Struct("!I")
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Order | Answer)


def packed(message: Message) -> bytes:
    """Return the bytes of a message."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Turns bytes, as they come, into messages; raises ValueError for what is none."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Order | Answer]:
        """Yield the messages that `data` completes."""
        self._rest += data
        while len(self._rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest)
            if length > MAX_MESSAGE:
                raise ValueError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._rest) < end:
                return
            body = bytes(self._rest[_LENGTH.size : end])
            del self._rest[:end]
            yield _DECODER.decode(body)
