"""The numbers that an edge and the stream servers behind it must agree on, each said once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

from cdn.settings import CdnSettings
from stream_server.settings import StreamServerSettings

__all__ = ["Numbers"]

HEARTBEATS_MISSED: Final = 3
SEND_MARGIN: Final = 30

OVERLAP: Final = 2.0
"""Threads a client for its stream: Varnish sees that one has left at its next write, a heartbeat later, and with 1.25
some of those who came meanwhile hung."""

REFETCHING: Final = 0.5
"""Threads a client for documents: a part of them asks at one moment, and what is passed takes two threads."""

THREADS_SPARE: Final = 1000
POOLS: Final = 2

STREAMS_OF_AN_ENVIRONMENT: Final = 2
"""Between the join window and the end of a stream two of one environment overlap."""

STREAM_KIB: Final = 20
"""Storage that a running stream takes: 16.8 measured."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Seconds where nothing else is said; `threads` are those of one pool.

    A backend that is silent for `between_bytes` is cut, which is three heartbeats. `send_timeout` is Varnish's limit
    on a whole answer and lies above every lifetime. `stream_first_byte` is how long a new client may wait for an origin
    that hangs, `document_first_byte` leaves the stream server time to ask its own upstream. `streams` is how many an
    edge opens at one origin, each of which takes a thread and a part of `stream_memory` (MiB): it could be made to open
    one for every key that anybody thinks of.
    """

    between_bytes: float
    send_timeout: float
    stream_first_byte: float
    document_first_byte: float
    threads: int
    streams: int
    stream_memory: int

    @classmethod
    def of(cls, edge: CdnSettings, streams: StreamServerSettings) -> Self:
        """Derive them from the settings of both."""
        opened = STREAMS_OF_AN_ENVIRONMENT * edge.environments
        # As many again may be open at the waiting room.
        threads = edge.clients * (OVERLAP + REFETCHING) + 2 * opened + THREADS_SPARE
        return cls(
            between_bytes=HEARTBEATS_MISSED * streams.heartbeat,
            send_timeout=streams.lifetime + SEND_MARGIN,
            stream_first_byte=5.0,
            document_first_byte=streams.upstream_timeout + 5,
            threads=math.ceil(threads / POOLS),
            streams=opened,
            # Twice: when an origin fails, as many are opened elsewhere before those are over.
            stream_memory=max(32, math.ceil(2 * opened * STREAM_KIB / 1024)),
        )
