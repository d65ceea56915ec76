"""What clients saw: streams, deliveries, how long they were behind, and what faults did to them."""

from __future__ import annotations

import msgspec

from loadtest.histogram import Pairs
from loadtest.results.parts import Seconds

__all__ = [
    "Delivery",
    "Fault",
    "GroupResults",
    "Readmission",
    "Staleness",
    "Streams",
]


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """Streams over the whole run."""

    clients: int = 0
    """The most clients that there were at once, with or without a stream."""
    opened: int = 0
    peak: int = 0
    """The most open at once, by the samples."""
    at_end: int = 0
    requests: int = 0
    connections: int = 0
    opens_per_s_peak: float = 0.0
    ended: int = 0
    """Clean ends."""
    replaced: int = 0
    left: int = 0
    lost: dict[str, int] = {}
    """By kind: cut, refused, status, silent."""
    gave_up: int = 0
    """Clients that never came back, as their model has it; where clients leave, others have taken their places."""
    deaf: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """From the moment a version was to be published to its event at a client whose stream was open by then."""

    count: int = 0
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    max_ms: float | None = None
    catch_ups: int = 0
    replays: int = 0
    skipped: int = 0
    """Versions that a newer one overtook before the client had them."""
    skipped_in_stream: int = 0
    """Of these, the ones between two events of one stream: coalesced, conflated for a slow reader, or dropped."""
    clock_error_ms: float = 0.0
    """By how much a figure may be wrong because clocks of several hosts were compared; 0 on one host."""
    histogram: Pairs = []


class Readmission(Seconds, frozen=True, kw_only=True):
    """From the loss of a stream, other than by its clean end, to the client's next live one."""


class Staleness(Seconds, frozen=True, kw_only=True):
    """How long clients were behind the newest version, each time they were, those without a stream too."""

    behind_peak: int = 0
    """The most clients that were behind at once, by the samples."""
    behind_at_end: int = 0
    client_seconds: float = 0.0
    """Clients that were behind, times how long, over the whole run."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing of the timeline that hurts, and what came of it."""

    number: int
    at_s: float
    what: str
    """In words, as ``kill worker 1``."""
    open_before: int = 0
    open_least: int = 0
    """The fewest open until the next fault."""
    lost: int = 0
    """Streams lost to it (not clean ends)."""
    gave_up: int = 0
    readmission: Readmission = Readmission()
    all_back_s: float | None = None
    """From the fault until nobody whom it hurt and who still tried was without a stream; null: they always were."""
    error: str = ""
    """Why it could not be done."""


class GroupResults(msgspec.Struct, frozen=True, kw_only=True):
    """The same figures for one group of clients: one model, one way in, one behaviour."""

    name: str
    model: str
    via: str
    streams: Streams = Streams()
    delivery: Delivery = Delivery()
    opening: Seconds = Seconds()
    gap: Seconds = Seconds()
    readmission: Readmission = Readmission()
    staleness: Staleness = Staleness()
    lost: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    fetches: int = 0
    errors: dict[str, int] = {}
