"""Reading the response headers that the rules depend on; a header that makes no sense counts as absent."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["is_event_stream", "remaining_join_window", "remaining_lifetime", "retry_after"]

MAX_RETRY_AFTER: Final = 300.0
"""Seconds: a longer Retry-After is cut to this, so that a wrong one does not silence the client for good."""


JOIN_SHARE: Final = 2 / 3
"""Share of the lifetime during which an edge is taken to add clients to a stream that does not say."""


def is_event_stream(headers: Mapping[str, str]) -> bool:
    """Tell whether the content type is ``text/event-stream``, whatever its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream"


def remaining_lifetime(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a stream has left: ``X-Stream-Lifetime`` less ``Age``; None where it is not announced."""
    lifetime = _seconds(headers.get("x-stream-lifetime", ""))
    return None if lifetime is None else max(0.0, lifetime - _age(headers))


def remaining_join_window(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds an edge adds clients to this stream: ``X-Stream-Join-Window`` less ``Age``.

    Two thirds of the lifetime where the window is not announced, None where neither is.
    """
    window = _seconds(headers.get("x-stream-join-window", ""))
    if window is None:
        lifetime = _seconds(headers.get("x-stream-lifetime", ""))
        if lifetime is None:
            return None
        window = lifetime * JOIN_SHARE
    return max(0.0, window - _age(headers))


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float:
    """Return ``Retry-After`` in seconds, 0 where there is none (RFC 9110, section 10.2.3); `now` is Unix time."""
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
        except (ValueError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def _age(headers: Mapping[str, str]) -> float:
    return _seconds(headers.get("age", "")) or 0.0


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
