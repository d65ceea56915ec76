"""When to open the next stream: the rules that keep a client from being deaf and from being a storm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from sdk_client.errors import ConfigurationError

__all__ = ["Backoff", "End", "EndKind", "Reconnect"]

CLEAN_WAIT: Final = 2.0
"""Seconds: after a clean end the next stream is opened within a random part of this."""

LIVED: Final = 1.0
"""Seconds after which a clean end is one; a shorter stream is an error, which breaks any loop."""

PROVEN: Final = 10.0
"""Seconds that a stream has to live for its end, if it was no clean one, to be counted as the first failure again."""

MAX_RETRY: Final = 60.0
"""Seconds that a server may ask for by `retry:`; one wrong value must not silence a client for a day."""

MAX_WAIT: Final = 86_400.0
"""Seconds, a day: what a back-off may be told to wait."""


class EndKind(Enum):
    """Why there is a stream no more, or why there was none."""

    REPLACED = "replaced"
    """Left for the next one, which was live already."""
    ENDED = "ended"
    """Ended cleanly by the server."""
    SHORT = "short"
    """Ended cleanly, but within a second: a server in a loop."""
    REFUSED = "refused"
    """Answered, but not with a stream."""
    UNREACHABLE = "unreachable"
    """No answer: refused, no such host, TLS, a broken answer."""
    UNANSWERED = "unanswered"
    """No answer in time."""
    CUT = "cut"
    """Broken off without a clean end."""
    SILENT = "silent"
    """Nothing came, not even heartbeats, or it went on beyond its announced life."""
    LIMIT = "limit"
    """Sent more in one line or one event than anybody needs."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter, in seconds: `base` and `cap` bound the random part, `least` is added.

    With the default no server can talk a client into more than one stream a second, not even by ``retry: 0``.
    """

    base: float = 1.0
    cap: float = 30.0
    least: float = 1.0

    def __post_init__(self) -> None:
        """Raise ConfigurationError for what would be a wait without end, or none at all for ever."""
        for name in ("base", "cap", "least"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_WAIT:
                raise ConfigurationError("backoff", f"must have a {name} from 0 to {MAX_WAIT:.0f} seconds")

    def delay(self, failures: int, random: Random, *, floor: float = 0.0, most: float = math.inf) -> float:
        """Return the seconds to wait after `failures` (1 or more) in a row: `floor` or `least`, plus the random part.

        Added, not the largest of them: below the floor every client of a failed server would come back at once. `most`
        bounds the random part further.
        """
        longest = min(self.cap, most, self.base * 2.0 ** min(failures - 1, 30))
        return max(floor, self.least) + random.uniform(0.0, longest)


@dataclass(frozen=True, slots=True)
class End:
    """How a stream ended: `lived` seconds after its headers came (0 where none did), and why, in words too."""

    kind: EndKind
    reason: str
    lived: float = 0.0
    retry_after: float = 0.0

    @classmethod
    def clean(cls, lived: float) -> End:
        """Return the clean end of a stream."""
        if lived < LIVED:
            return cls(EndKind.SHORT, f"the stream ended after {lived:.2f} s", lived)
        return cls(EndKind.ENDED, "the stream ended", lived)

    @property
    def is_error(self) -> bool:
        """Tell whether it counts as a failure."""
        return self.kind not in (EndKind.ENDED, EndKind.REPLACED)


class Reconnect:
    """Counts failures and says how long to wait; `retry` is the server's own wish in seconds."""

    def __init__(self, random: Random, *, backoff: Backoff | None = None) -> None:
        self._random = random
        self._backoff = backoff or Backoff()
        self.retry = 0.0
        self.failures = 0

    @property
    def least(self) -> float:
        """Seconds between two openings at least."""
        return self._backoff.least

    def advise(self, seconds: float) -> None:
        """Take the server's `retry:`; it holds until another one comes, over all streams."""
        self.retry = min(seconds, MAX_RETRY)

    def worked(self) -> None:
        """Take that all is well: the next failure is the first again."""
        self.failures = 0

    def after(self, end: End) -> float:
        """Count `end` and return the seconds until the next stream may be opened."""
        if not end.is_error:
            self.worked()
            return self._random.uniform(0.0, CLEAN_WAIT)
        self.failures = 1 if end.lived >= PROVEN else self.failures + 1
        return self._backoff.delay(self.failures, self._random, floor=max(self.retry, end.retry_after))
