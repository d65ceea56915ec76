"""What the conductor and the generators of the swarm say to each other: MessagePack, each with its length before it.

A generator is one process. It is told everything at its `Start`, is then led by short orders, and reports a `Sample`
every `Start.report_every` seconds with what it counted since the last one. On another host it is behind an agent
(`flagstream loadtest agent`), which starts generators and passes messages through.

Times are seconds. `run` times count from the start of the run; a version is the microseconds since the epoch at which
it was meant to be published, so a generator that knows `Start.epoch` (what its own monotonic clock would have shown at
the epoch) knows of every event how long it took, without being told when it was published.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from loadtest.models import Model

__all__ = [
    "Answer",
    "Close",
    "Cut",
    "Ended",
    "Environment",
    "Failed",
    "Group",
    "GroupSample",
    "Mark",
    "Open",
    "Order",
    "Ping",
    "Pong",
    "Published",
    "Ready",
    "Report",
    "Sample",
    "Settle",
    "Slow",
    "Start",
    "Stop",
    "Target",
    "Unpacker",
    "packed",
]

MAX_MESSAGE: Final = 64 << 20
_LENGTH: Final = struct.Struct("!I")

Pairs = list[tuple[int, int]]
"""A histogram's buckets, see `loadtest.histogram`."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """What all have: their name."""


class Target(Message, frozen=True, kw_only=True):
    """Where streams are asked for: one address of an origin or an edge."""

    name: str
    """``origin`` or ``edge``."""
    host: str
    port: int
    tls: bool = False
    verify: bool = True
    prefix: str = ""
    """What comes before ``/sse/…`` in the path, without a slash at its end."""


class Slow(Message, frozen=True, kw_only=True):
    """A reader that does not keep up: `reads_every` seconds it takes up to `bytes`; 0 reads nothing at all."""

    reads_every: float
    bytes: int = 4096


class Group(Message, frozen=True, kw_only=True):
    """Clients of one kind: the part of them that this process has is numbered `first` … `first + count - 1`."""

    name: str
    model: Model
    target: int
    """Index into `Start.targets`, for streams and documents alike."""
    first: int
    count: int
    stays: tuple[float, float] | None = None
    """Seconds after which a client leaves for good and another takes its place, `away` seconds later."""
    away: tuple[float, float] = (0.0, 0.0)
    slow: Slow | None = None
    fetches: bool = True
    """False: no flags are fetched, whatever the model does."""
    loads: bool = False
    """Whether a client fetches its flags before its first stream, as SDKs do when an app starts."""


class Environment(Message, frozen=True, kw_only=True):
    """One environment: client-side key, and the server-side one where documents are fetched with it."""

    key: str
    server_key: str = ""


class Start(Message, frozen=True, kw_only=True):
    """Everything a generator must know; it answers `Ready`. Client `n` belongs to environment ``n % len(…)``."""

    process: int
    """Its number, from 0, among all of the run."""
    seed: int
    targets: list[Target]
    environments: list[Environment]
    groups: list[Group]
    epoch: float
    """The reading of this process's monotonic clock at the Unix epoch by the conductor's clock; negative."""
    began: float
    """The reading of this process's monotonic clock at the start of the run."""
    signature: int = -1
    """The last three digits of all versions of this run: only these are measured, whoever else publishes; -1: any."""
    report_every: float = 0.25
    fetchers: int = 128
    """Connections for fetching flags, at most."""
    first_source: int = 0
    """Number of its first own address in 127/8 where targets are on loopback; see `sources`."""
    sources: int = 8
    timeout: float = 10.0
    """Seconds for a connection or a fetch to be answered, where the model does not say."""


class Open(Message, frozen=True, kw_only=True):
    """Open the streams of clients `first` … `first + count - 1` (numbers of the run), spread over `over` seconds."""

    group: int
    first: int
    count: int
    over: float = 0.0


class Close(Message, frozen=True, kw_only=True):
    """Let `count` clients of a group leave for good, the ones opened last first."""

    group: int
    count: int


class Cut(Message, frozen=True, kw_only=True):
    """Break the connections of a `share` (0 to 1) of all clients, as a network that fails does."""

    share: float


class Published(Message, frozen=True, kw_only=True):
    """These versions have been answered 2xx: (index of the environment, version)."""

    versions: list[tuple[int, int]]


class Mark(Message, frozen=True, kw_only=True):
    """From now on what is lost is lost to fault number `fault`, counted from 1; 0 is none."""

    fault: int


class Settle(Message, frozen=True, kw_only=True):
    """The scenario is over: nobody comes or leaves any more, so that who is there can become current."""


class Ping(Message, frozen=True, kw_only=True):
    """Answered at once by a `Pong`: clocks of several hosts are compared by it."""

    sent: float


class Report(Message, frozen=True, kw_only=True):
    """Asks for a `Sample` now."""


class Stop(Message, frozen=True, kw_only=True):
    """Close everything, answer `Ended`, end."""


Order = Start | Open | Close | Cut | Published | Mark | Ping | Report | Settle | Stop


class Ready(Message, frozen=True, kw_only=True):
    """The generator is there; `capacity` is how many streams its file limit lets it hold."""

    process: int
    pid: int
    capacity: int


class Pong(Message, frozen=True, kw_only=True):
    """`sent` as it came, and the generator's monotonic clock."""

    sent: float
    at: float


class GroupSample(Message, frozen=True, kw_only=True):
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
    """That never come back, as their model has it."""
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
    invalid: int = 0
    """Events that could not be read."""
    bytes: int = 0
    fetches: int = 0
    fetches_failed: int = 0
    fetches_older: int = 0
    """Answered with an older version than the client had been told of."""
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
    readmission: dict[int, Pairs] = {}
    """From the loss of a stream, other than by its clean end, to the next live one; by `Mark.fault` at the loss."""


class Sample(Message, frozen=True, kw_only=True):
    """What one generator counted since its last one; `at` is in seconds of the run."""

    process: int
    at: float
    groups: list[GroupSample]
    cpu: float
    """Seconds of CPU so far."""
    rss: int
    """Bytes."""
    busy: float
    """Share (0 to 1) of the time since the last sample that was not spent waiting for something to do."""
    late: float
    """Seconds by which the most belated timer since the last sample was late."""
    loop: float
    """Seconds that the longest turn of the loop took: events may have waited as long before they were read."""
    generator_errors: dict[str, int] = {}
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
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Order | Answer)


def packed(message: Message) -> bytes:
    """Return the bytes of a message."""
    body = _ENCODER.encode(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Turns bytes, as they come, into messages; raises ValueError for what is none."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Order | Answer]:
        """Yield the messages that `data` completes."""
        self._rest += data
        while len(self._rest) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest)
            if length > MAX_MESSAGE:
                raise ValueError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._rest) < end:
                return
            body = bytes(self._rest[_LENGTH.size : end])
            del self._rest[:end]
            yield _DECODER.decode(body)
