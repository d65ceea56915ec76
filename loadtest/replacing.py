"""Make before break: when a client opens its next stream while the old one still lives."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from sdk_client.reconnect import LIVED
from sdk_client.stream import AGE_TICK, MARGIN, WORTH_REPLACING

__all__ = ["WORTH_REPLACING", "replace_after", "replacing_window", "window_of"]


def window_of(
    left: Any, joined: Any, *, least: Callable[[Any, Any], Any] = min, most: Callable[[Any, Any], Any] = max
) -> tuple[Any, Any]:
    """Return the seconds after the head between which the next stream is opened, of streams worth replacing.

    Of one stream in numbers, or of many in arrays, with `least` and `most` of two arrays (numpy's minimum and maximum).
    """
    latest = left - AGE_TICK - least(MARGIN, left / 10)
    return most(LIVED, least(joined + AGE_TICK, latest)), latest


def replacing_window(left: float, joined: float) -> tuple[float, float] | None:
    """Return the seconds after the head between which the next stream is opened; None where it is not worth it.

    `left` is what the stream has left to live and `joined` how long an edge still adds clients to it, both in seconds
    by its headers (0 where they do not say). The rule is `sdk_client.stream.Stream.replace_at`'s, without a stream.
    """
    if left < WORTH_REPLACING:
        return None
    return window_of(left, joined)


def replace_after(left: float, joined: float, chance: Random) -> float | None:
    """Return the seconds after the head at which the next stream is opened; None where it is not worth it."""
    window = replacing_window(left, joined)
    return None if window is None else chance.uniform(*window)
