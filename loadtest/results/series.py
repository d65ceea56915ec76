"""The curves of a run."""

from __future__ import annotations

import msgspec

__all__ = ["Series"]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Curves: one value for each moment of `at_s`, rates being those of the time since the moment before."""

    at_s: list[float] = []
    open: list[int] = []
    connecting: list[int] = []
    waiting: list[int] = []
    gave_up: list[int] = []
    behind: list[int] = []
    opens_per_s: list[float] = []
    requests_per_s: list[float] = []
    losses_per_s: list[float] = []
    """Streams lost otherwise than by a clean end."""
    events_per_s: list[float] = []
    fetches_per_s: list[float] = []
    delivery_p50_ms: list[float | None] = []
    delivery_p99_ms: list[float | None] = []
    published: list[int] = []
    """Versions accepted so far."""
    generator_busy: list[float] = []
    generator_rss: list[int] = []
    cpu: dict[str, list[float]] = {}
    """By program, in cores, where the stack is local."""
    rss: dict[str, list[int]] = {}
    origin_streams: list[int | None] = []
    open_by_group: dict[str, list[int]] = {}
