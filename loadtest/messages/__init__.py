"""What the conductor and the generators of the swarm say to each other: MessagePack, each with its length before it.

A generator is one process. It is told everything at its `Start`, is then led by short orders, and reports a `Sample`
every `Start.report_every` seconds with what it counted since the last one. On another host it is behind an agent
(`flagstream loadtest agent`), which starts generators and passes messages through.

Times are seconds. `run` times count from the start of the run; a version is the microseconds since the epoch at which
it was meant to be published, so a generator that knows `Start.epoch` (what its own monotonic clock would have shown at
the epoch) knows of every event how long it took, without being told when it was published.
"""

from __future__ import annotations

from loadtest.messages.answers import (
    COUNTS,
    HISTOGRAMS,
    LEVELS,
    Answer,
    Ended,
    Failed,
    GroupSample,
    Pong,
    Ready,
    Sample,
)
from loadtest.messages.framing import Unpacker, packed
from loadtest.messages.message import Message
from loadtest.messages.orders import (
    Close,
    Cut,
    Environment,
    Group,
    Mark,
    Open,
    Order,
    Ping,
    Published,
    Report,
    Settle,
    Slow,
    Start,
    Stop,
    Target,
)

__all__ = [
    "COUNTS",
    "HISTOGRAMS",
    "LEVELS",
    "Answer",
    "Close",
    "Cut",
    "Ended",
    "Environment",
    "Failed",
    "Group",
    "GroupSample",
    "Mark",
    "Message",
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
