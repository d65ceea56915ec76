"""What a generator says: that it is there, what it has counted, that it is done."""

from __future__ import annotations

from typing import Final

import msgspec

from loadtest.histogram import Pairs
from loadtest.messages.message import Message

__all__ = [
    "COUNTS",
    "HISTOGRAMS",
    "LEVELS",
    "Answer",
    "Ended",
    "Failed",
    "GroupSample",
    "Pong",
    "Ready",
    "Sample",
]


class Ready(Message, frozen=True, kw_only=True):
    """The generator is there; `capacity` is how many streams its file limit lets it hold."""

    process: int
    pid: int
    capacity: int


class Pong(Message, frozen=True, kw_only=True):
    """`sent` as it came, and the generator's monotonic clock."""

    sent: float
    at: float


class GroupSample(msgspec.Struct, frozen=True, kw_only=True):
    """One group in one process: levels as they are, counts and histograms of what came since the last sample."""

    # levels
    clients: int = 0
    """That have begun and not left."""
    open: int = 0
    """Streams that are live."""
    connecting: int = 0
    """That have asked and not been answered."""
    waiting: int = 0
    """That wait until they may try again."""
    gave_up: int = 0
    """That never come back, as their model has it, and have not left either."""
    behind: int = 0
    """Clients that still follow, with or without a stream at the moment, and hold a version that is not the newest."""
    new: int = 0
    """Clients that hold no version yet, although there is one; they are not among those that are behind."""
    deaf: int = 0
    """That hold a stream and take nothing from it any more."""
    hurt: dict[int, int] = {}
    """That lost their stream otherwise than by its clean end, try, and have not had the next; by `Mark.fault` then."""
    # counts
    broken: dict[int, int] = {}
    """Of the lost ones, streams that were live and did not end cleanly; by `Mark.fault` at the loss."""
    behind_us: int = 0
    """Microseconds that clients were behind, all together; of some it is known only later that they were."""
    requests: int = 0
    """Streams asked for, and attempts to."""
    connections: int = 0
    """TCP connections begun, for streams."""
    opened: int = 0
    """Answered with a live stream."""
    lost: dict[int, int] = {}
    """Streams that ended or were not had, by `Loss`; `left` and `replaced` are not among them."""
    left: int = 0
    replaced: int = 0
    given_up: int = 0
    """Clients that gave up, those who have left since among them."""
    events: int = 0
    heartbeats: int = 0
    deliveries: int = 0
    """Events that were new to their client and published while its stream was open."""
    catch_ups: int = 0
    """Events that were new to their client and older than its stream."""
    replays: int = 0
    """Events that a client knew from an earlier stream."""
    duplicates: int = 0
    """Events whose version the same stream had told already."""
    out_of_order: int = 0
    """Events older than one before them on the same stream."""
    skipped: int = 0
    """Versions that a newer one overtook before the client had them (coalesced or conflated)."""
    skipped_in_stream: int = 0
    """Of these, the ones between two events of one stream, so that no gap between streams explains them."""
    invalid: int = 0
    """Events that could not be read."""
    bytes: int = 0
    fetches: int = 0
    fetches_failed: int = 0
    fetches_older: int = 0
    """Answered with an older version than the client had been told of."""
    events_dropped: int = 0
    """Events that a client itself dropped because they came during a fetch, as its model has it."""
    errors: dict[str, int] = {}
    """What went wrong, in a few words: ``connection refused``, ``status 503``, ``cut``, …"""
    # histograms
    delivery: Pairs = []
    opening: Pairs = []
    """From the request to the head of a live stream, connecting included."""
    gap: Pairs = []
    """From the clean end of a stream to the next live one."""
    staleness: Pairs = []
    """How long a client was behind, each time: from the first version that it lacked to one that is as new."""
    fetch: Pairs = []
    """From the moment at which a client wanted its flags to their last byte."""
    fetch_queued: Pairs = []
    """The part of it in which all connections that the generator allows itself were in use."""
    fetch_answered: Pairs = []
    """The other part: from the request to its answer's last byte, connecting included."""
    readmission: dict[int, Pairs] = {}
    """From the loss of a stream, other than by its clean end, to the next live one; by `Mark.fault` at the loss."""


LEVELS: Final = ("clients", "open", "connecting", "waiting", "gave_up", "behind", "new", "deaf")
COUNTS: Final = (
    *("requests", "connections", "opened", "left", "replaced", "given_up"),
    *("events", "heartbeats", "deliveries", "catch_ups", "replays", "duplicates", "out_of_order", "skipped", "invalid"),
    *("skipped_in_stream", "bytes", "fetches", "fetches_failed", "fetches_older", "events_dropped", "behind_us"),
)
HISTOGRAMS: Final = ("delivery", "opening", "gap", "staleness", "fetch", "fetch_queued", "fetch_answered")
"""The fields of `GroupSample` by what they are, but for those that are by mark or by kind."""


class Sample(Message, frozen=True, kw_only=True):
    """What one generator counted since its last one; `at` is in seconds of the run."""

    process: int
    at: float
    groups: list[GroupSample]
    cpu: float
    """Seconds of CPU so far."""
    cpu_opening: float = 0.0
    """Of these, about, the ones for opening streams; see `loadtest.swarm.meter`."""
    cpu_fetching: float = 0.0
    """And the ones for fetching flags."""
    cpu_events: float = 0.0
    """And the ones for reading and taking events."""
    rss: int
    """Bytes."""
    busy: float
    """Share (0 to 1) of the time since the last sample that was not spent waiting for something to do."""
    late: float
    """Seconds by which the most belated timer since the last sample was late."""
    loop: float
    """Seconds that the longest turn of the loop took: events may have waited as long before they were read."""
    generator_errors: dict[str, int] = msgspec.field(default_factory=dict)
    """Failures that are this machine's and not the server's: no descriptor, no port."""


class Ended(Message, frozen=True, kw_only=True):
    """The last word: for each group, how many clients that still try to follow are not at the newest version."""

    process: int
    lost: list[int]


class Failed(Message, frozen=True, kw_only=True):
    """The generator cannot go on, and why."""

    process: int
    reason: str


Answer = Ready | Pong | Sample | Ended | Failed
