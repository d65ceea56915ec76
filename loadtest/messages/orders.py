"""What a generator is told: what the run is, then short orders, one after the other."""

from __future__ import annotations

from loadtest.messages.message import Message
from loadtest.models import Model

__all__ = [
    "Close",
    "Cut",
    "Environment",
    "Group",
    "Mark",
    "Open",
    "Order",
    "Ping",
    "Published",
    "Report",
    "Settle",
    "Slow",
    "Start",
    "Stop",
    "Target",
]


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
    fetchers: int = 0
    """Connections for fetching flags, at most; 0: as `loadtest.swarm.descriptors` has it."""
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
