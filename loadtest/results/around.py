"""What was done around the streams, and what it all cost: requests, fetches, changes, servers and generators."""

from __future__ import annotations

import msgspec

from loadtest.results.parts import Seconds

__all__ = [
    "Fetches",
    "Generator",
    "Process",
    "Publishing",
    "Requests",
]


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests for streams: what clients sent, and what of it came through to each side; null where nobody can tell."""

    sent: int = 0
    sent_to_edge: int | None = None
    """Of these, the ones to the edge, as clients counted them: exact."""
    edge: int | None = None
    """As the edge's own counters have it: they lag a little, and fetches of a version are among them."""
    edge_sent_on: int | None = None
    """What the edge asked of the origin, for streams alone: exact."""
    origin: int | None = None
    origin_streams_peak: int | None = None
    edge_clients_peak: int | None = None


class Fetches(Seconds, frozen=True, kw_only=True):
    """Flags fetched after events and at the start of apps, from the moment at which their client wanted them."""

    queued: Seconds = Seconds()
    """Of that, waiting while all connections that a generator allows itself were in use: its own doing."""
    answered: Seconds = Seconds()
    """Of that, from the request to the last byte of its answer, connecting included: the servers' part."""
    failed: int = 0
    older: int = 0
    """Answered with an older version than the client had been told of."""
    events_dropped: int = 0
    """Events that clients themselves dropped because they came during a fetch, as their SDK does: no server's fault."""
    per_s_peak: float = 0.0


class Publishing(msgspec.Struct, frozen=True, kw_only=True):
    """Changes: `late` began more than 50 ms after their time, because the generator's machine was busy."""

    planned: int = 0
    sent: int = 0
    accepted: int = 0
    failed: int = 0
    late: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    errors: dict[str, int] = {}


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of one program used: CPU seconds of the run, most bytes resident, at the start and the end."""

    name: str
    cpu_s: float = 0.0
    rss_peak: int = 0
    rss_begin: int = 0
    rss_end: int = 0


class Generator(msgspec.Struct, frozen=True, kw_only=True):
    """The swarm's own cost; `busy_peak` is a share (0 to 1), `late_max_ms` the most belated timer."""

    processes: int = 0
    streams_per_process_peak: int = 0
    cpu_s: float = 0.0
    cpu_us_per_event: float | None = None
    """Of reading and taking events alone; `cpu_s` has all, the start of the processes included."""
    cpu_us_per_open: float | None = None
    """Of each request for a stream, connecting included."""
    cpu_us_per_fetch: float | None = None
    rss_peak: int = 0
    bytes_per_stream: int | None = None
    """What the processes grew by for each stream at the peak; the kernel's own memory is not in it."""
    busy_peak: float = 0.0
    late_max_ms: float = 0.0
    loop_max_ms: float = 0.0
    errors: dict[str, int] = {}
    was_the_limit: bool = False
    """Whether a limit of its own may have spoilt a figure."""
    shared_cores: bool = False
    """Whether it shared the cores of one machine with the servers, and they were all in use for part of the run."""
