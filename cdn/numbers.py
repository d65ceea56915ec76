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
THREADS_SPARE: Final = 500
OVERLAP: Final = 1.25
"""Threads a client: in a storm the old connection may not be over when the new one comes."""

POOLS: Final = 2


@dataclass(frozen=True, slots=True)
class Numbers:
    """Seconds, except the threads of one pool.

    A backend that is silent for `between_bytes` is cut, which is three heartbeats. `send_timeout` is Varnish's limit
    on a whole answer and lies above every lifetime. `stream_first_byte` is how long a new client may wait for an origin
    that hangs, `document_first_byte` leaves the stream server time to ask its own upstream.
    """

    between_bytes: float
    send_timeout: float
    stream_first_byte: float
    document_first_byte: float
    threads: int

    @classmethod
    def of(cls, edge: CdnSettings, streams: StreamServerSettings) -> Self:
        """Derive them from the settings of both."""
        return cls(
            between_bytes=HEARTBEATS_MISSED * streams.heartbeat,
            send_timeout=streams.lifetime + SEND_MARGIN,
            stream_first_byte=5.0,
            document_first_byte=streams.upstream_timeout + 5,
            threads=math.ceil(edge.clients * OVERLAP / POOLS) + THREADS_SPARE,
        )
