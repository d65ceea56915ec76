"""One stream, from its headers to its end, without I/O: what it says, when it is dead, when its next one is due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from sdk_client import headers as header_rules
from sdk_client.decoder import Decoder, Item
from sdk_client.reconnect import LIVED, End, EndKind

__all__ = ["Stream", "refusal"]

HEARTBEATS_MISSED: Final = 3
OVERDUE: Final = 5.0
"""Seconds beyond its announced lifetime after which a stream is given up."""

WORTH_REPLACING: Final = 3.0
"""Seconds that a stream must have left for its next one to be opened before its end."""

AGE_TICK: Final = 1.0
"""Seconds by which `Age` may be behind the truth, for it is whole seconds."""

MARGIN: Final = 1.0
"""Seconds that the next stream is given to open, at most; a tenth of what is left if less."""


def refusal(status: int, headers: Mapping[str, str]) -> End | None:
    """Return why a response is no stream, None where it is one."""
    if status != 200:  # noqa: PLR2004 - the one status that the standard lets a stream have
        reason = f"the server answered {status}"
        return End(EndKind.REFUSED, reason, retry_after=header_rules.retry_after(headers))
    if not header_rules.is_event_stream(headers):
        content = headers.get("content-type") or "no content type"
        return End(EndKind.REFUSED, f"the server answered with {content}, not an event stream")
    return None


class Stream:
    """One live stream, known by its `number`; `heartbeat` is in seconds, limits are the decoder's."""

    def __init__(
        self, number: int, headers: Mapping[str, str], *, now: float, heartbeat: float, decoder: Decoder | None = None
    ) -> None:
        self.number = number
        self._decoder = decoder or Decoder()
        self._opened = now
        self._silence = HEARTBEATS_MISSED * heartbeat
        left = header_rules.remaining_lifetime(headers)
        self._left = 0.0 if left is None else left
        self._joined = header_rules.remaining_join_window(headers) or 0.0
        self._leave_by = None if left is None else now + left + OVERDUE
        self._heard = now

    @property
    def deadline(self) -> float:
        """The moment at which the stream has to be given up, unless more bytes come before."""
        silent = self._heard + self._silence
        return silent if self._leave_by is None else min(silent, self._leave_by)

    @property
    def last_event_id(self) -> str:
        """The id with which to go on, empty where the server sent none."""
        return self._decoder.last_event_id

    def lived(self, now: float) -> float:
        """Return the seconds since the headers came."""
        return now - self._opened

    def leave_by(self, moment: float) -> None:
        """Give the stream up at `moment` at the latest, whatever comes."""
        self._leave_by = moment if self._leave_by is None else min(self._leave_by, moment)

    def replace_at(self, random: Random) -> float | None:
        """Return a random moment at which to open the next stream; None where its end is not known, or too near.

        Not while an edge still adds clients to this one: it would hand out the same stream, which dies with it. And
        at random, for one edge stream has thousands of clients that all know the same end.
        """
        if self._left < WORTH_REPLACING:
            return None
        latest = self._left - AGE_TICK - min(MARGIN, self._left / 10)
        joined = self._joined + AGE_TICK
        return self._opened + random.uniform(max(LIVED, min(joined, latest)), latest)

    def receive(self, data: bytes, now: float) -> Iterator[Item]:
        """Yield what the bytes complete; raises StreamLimitError.

        Only what says something is a sign of life: bytes that never become a comment or an event may come for ever.
        """
        for item in self._decoder.feed(data):
            self._heard = now
            yield item
