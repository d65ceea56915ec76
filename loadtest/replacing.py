"""Make before break: when a client opens its next stream while the old one still lives."""

from __future__ import annotations

from random import Random

from sdk_client.reconnect import LIVED
from sdk_client.stream import AGE_TICK, MARGIN, WORTH_REPLACING

__all__ = ["replace_after", "replacing_window"]


def replacing_window(left: float, joined: float) -> tuple[float, float] | None:
    """Return the seconds after the head between which the next stream is opened; None where it is not worth it.

    `left` is what the stream has left to live and `joined` how long an edge still adds clients to it, both in seconds
    by its headers (0 where they do not say). The rule is `sdk_client.stream.Stream.replace_at`'s, without a stream.
    """
    if left < WORTH_REPLACING:
        return None
    latest = left - AGE_TICK - min(MARGIN, left / 10)
    return max(LIVED, min(joined + AGE_TICK, latest)), latest


def replace_after(left: float, joined: float, chance: Random) -> float | None:
    """Return the seconds after the head at which the next stream is opened; None where it is not worth it."""
    window = replacing_window(left, joined)
    return None if window is None else chance.uniform(*window)
