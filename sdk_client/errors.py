"""What can go wrong in the client, as one small tree.

FlagClientError
├── ConfigurationError (also ValueError): an argument that cannot work; nothing was started
├── DocumentError: the flags could not be fetched this time; the client tries again by itself
│   └── KeyRefusedError: the server does not accept the environment key
├── ValueTypeError (also ValueError): a feature's value is not of the type asked for; getters answer the default
├── NotReadyError (also TimeoutError): no flags were loaded within the time given
├── ClientStoppedError: the client was closed, or died of a fault of its own
└── StreamLimitError: a stream sent a line or an event beyond the limits; it is closed and opened again
"""

from __future__ import annotations

import reprlib
from typing import Any

__all__ = [
    "ClientStoppedError",
    "ConfigurationError",
    "DocumentError",
    "FlagClientError",
    "KeyRefusedError",
    "NotReadyError",
    "StreamLimitError",
    "ValueTypeError",
    "shown",
]


def shown(value: Any) -> str:
    """Return a value for a message: cut to some 30 characters, and never raising."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"a long {type(value).__name__}"


class FlagClientError(Exception):
    """Anything this package raises on purpose; can be pickled, as pools of processes do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), self.__dict__


class ConfigurationError(FlagClientError, ValueError):
    """An argument that cannot work; `argument` names it."""

    def __init__(self, argument: str, problem: str) -> None:
        self.argument = argument
        super().__init__(f"{argument} {problem}")


class DocumentError(FlagClientError):
    """A document could not be fetched or read; `status` is 0 where no answer came, `retry_after` is in seconds."""

    def __init__(self, reason: str, *, status: int = 0, retry_after: float = 0.0) -> None:
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        super().__init__(reason)


class KeyRefusedError(DocumentError):
    """The server answered 401 or 403: the environment key is wrong, or not known (yet)."""


class ValueTypeError(FlagClientError, ValueError):
    """A value is no `wanted` (``"boolean"``, ``"string"``, ``"integer"``, ``"number"``, ``"JSON"``)."""

    def __init__(self, wanted: str, value: Any) -> None:
        self.wanted = wanted
        self.value = value
        super().__init__(f"{shown(value)} is not of the type asked for: {wanted}")


class NotReadyError(FlagClientError, TimeoutError):
    """No flags were loaded in time; `last` is the newest failure, None where nothing has failed yet."""

    def __init__(self, timeout: float, last: DocumentError | None) -> None:
        self.timeout = timeout
        self.last = last
        why = "no answer yet" if last is None else str(last)
        super().__init__(f"no flags after {timeout:g} s: {why}; pass require_ready=False to start without them")


class ClientStoppedError(FlagClientError):
    """The client is closed, or its own task failed; the cause is chained."""


class StreamLimitError(FlagClientError):
    """A line or an event of a stream is beyond `limit` bytes."""

    def __init__(self, what: str, limit: int) -> None:
        self.what = what
        self.limit = limit
        super().__init__(f"{what} of the stream is longer than {limit} bytes")


def _restored(kind: type[FlagClientError], args: tuple[Any, ...]) -> FlagClientError:
    error = kind.__new__(kind)  # without its arguments, for what is kept of them is the message
    error.args = args
    return error
