"""One stream, from its headers to its end, without I/O: what it delivers and when its silence means that it is dead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sdk_client import headers as header_rules
from sdk_client.decoder import Comment, Decoder, Event, Retry
from sdk_client.reconnect import End
from sdk_client.versions import event_version

__all__ = ["Stream", "refusal"]

EVENT: Final = "environment_updated"
HEARTBEATS_MISSED: Final = 3
OVERDUE: Final = 5.0
"""Seconds beyond its announced lifetime after which a stream is given up."""


def refusal(status: int, headers: Mapping[str, str]) -> End | None:
    """Return why a response is no stream, None where it is one."""
    if status != 200:  # noqa: PLR2004 - the one status that the standard lets a stream have
        return End(f"the server answered {status}", retry_after=header_rules.retry_after(headers))
    if not header_rules.is_event_stream(headers):
        return End(f"the server answered with {headers.get('content-type') or 'no content type'}, not an event stream")
    return None


class Stream:
    """One open stream; `newest` is the highest version it has told of, `invalid` counts events that made no sense."""

    def __init__(self, headers: Mapping[str, str], *, now: float, heartbeat: float) -> None:
        self._decoder = Decoder()
        self._opened = now
        self._silence = HEARTBEATS_MISSED * heartbeat
        left = header_rules.remaining_lifetime(headers)
        self._overdue = None if left is None else now + left + OVERDUE
        self._heard = now
        self.newest = 0
        self.invalid = 0

    @property
    def deadline(self) -> float:
        """The moment at which the stream has to be given up, unless more bytes come before."""
        silent = self._heard + self._silence
        return silent if self._overdue is None else min(silent, self._overdue)

    def lived(self, now: float) -> float:
        """Return the seconds since the headers came."""
        return now - self._opened

    def receive(self, data: bytes, now: float) -> Iterator[int | Retry]:
        """Yield versions above all before on this stream, and the server's wishes; raises StreamLimitError."""
        self._heard = now
        for item in self._decoder.feed(data):
            match item:
                case Retry():
                    yield item
                case Event(type=name, data=text) if name == EVENT:
                    version = self._version(text)
                    if version > self.newest:
                        self.newest = version
                        yield version
                case Comment() | Event():
                    pass

    def _version(self, text: str) -> int:
        try:
            return event_version(text)
        except ValueError:  # one bad event must not end a stream that goes on well
            self.invalid += 1
            return 0
