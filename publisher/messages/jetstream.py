"""The few JetStream calls that the project needs, as requests of the JetStream wire API.

Source of subjects, fields and error codes: NATS documentation, "JetStream wire API reference". Answers are decoded
into structs that hold what is used here; what else a server sends is ignored.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from nats import errors
from nats.aio.client import Client

from publisher.messages import STREAM

__all__ = [
    "JetStreamError",
    "NoMessageError",
    "StreamInfo",
    "StreamMissingError",
    "StreamState",
    "call",
    "stream_info",
]

TIMEOUT: Final = 2.0
"""Seconds that a JetStream API call may take; one that a failing leader swallowed is asked again soon."""

STREAM_NOT_FOUND: Final = 10059
NO_MESSAGE: Final = 10037
NO_RESPONDERS: Final = "503"


class JetStreamError(Exception):
    """JetStream refused a call; `code` is its `err_code`, `description` its words."""

    def __init__(self, code: int, description: str) -> None:
        self.code = code
        self.description = description
        super().__init__(f"JetStream: {description} ({code})")


class StreamMissingError(JetStreamError):
    """JetStream has no stream `flags`: it was never made, or its disk was lost."""


class NoMessageError(JetStreamError):
    """There is no message with that sequence, or of that subject."""


class ApiError(msgspec.Struct):
    """The `error` of any JetStream answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class StreamState(msgspec.Struct):
    """How many messages a stream holds, and the sequence that its last one got."""

    messages: int
    last_seq: int


class StreamInfo(msgspec.Struct):
    """A stream as its leader sees it; `created` is the server's own text, compared and never computed with."""

    created: str
    state: StreamState
    config: dict[str, Any]


class _Answer(msgspec.Struct):
    error: ApiError | None = None


_answers = msgspec.json.Decoder(_Answer)
_infos = msgspec.json.Decoder(StreamInfo)


async def call(client: Client, name: str, request: object = None, *, timeout: float = TIMEOUT) -> bytes:  # noqa: ASYNC109 - passed on to the client, which bounds the request
    """Return JetStream's answer to one call, for example ``STREAM.INFO.flags``.

    Raises `JetStreamError` (or one of its kinds), `TimeoutError`, and nats-py's errors when NATS is away.
    """
    payload = b"" if request is None else msgspec.json.encode(request)
    answer = (await client.request(f"$JS.API.{name}", payload, timeout=timeout)).data
    raise_refused(answer)
    return answer


def raise_refused(answer: bytes) -> None:
    """Raise what an answer of JetStream says is wrong, if anything."""
    try:
        error = _answers.decode(answer).error
    except msgspec.DecodeError as fault:
        raise JetStreamError(0, f"an answer that cannot be read: {fault}") from None
    if error is None:
        return
    kinds = {STREAM_NOT_FOUND: StreamMissingError, NO_MESSAGE: NoMessageError}
    raise kinds.get(error.err_code, JetStreamError)(error.err_code, error.description)


async def stream_info(client: Client) -> StreamInfo:
    """Return the state and configuration of the stream; raises `StreamMissingError` and as `call` does."""
    try:
        return _infos.decode(await call(client, f"STREAM.INFO.{STREAM}"))
    except errors.NoRespondersError:
        raise JetStreamError(0, "NATS runs without JetStream, or JetStream is not ready") from None
