"""What a run found, as its JSON has it: the one shape that reports, comparisons and thresholds read.

``_s`` and ``_ms`` name the unit, bytes and counts have none. Figures that there are none of are null: no delivery, no
percentile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from loadtest.histogram import Histogram

__all__ = [
    "Delivery",
    "Fault",
    "GroupResults",
    "Process",
    "Readmission",
    "Results",
    "Seconds",
    "Series",
    "Staleness",
    "Streams",
    "Threshold",
    "read",
    "written",
]

FORMAT: Final = 1

Pairs = list[tuple[int, int]]
"""Buckets of a histogram with their counts, see `loadtest.histogram`."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What all have: they are values, made by name."""


class Streams(Part, frozen=True, kw_only=True):
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
    """Clients that never came back, as their model has it."""
    deaf: int = 0


class Delivery(Part, frozen=True, kw_only=True):
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
    clock_error_ms: float = 0.0
    """By how much a figure may be wrong because clocks of several hosts were compared; 0 on one host."""
    histogram: Pairs = []


class Seconds(Part, frozen=True, kw_only=True):
    """Durations in seconds."""

    count: int = 0
    p50_s: float | None = None
    p90_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None
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


class Fault(Part, frozen=True, kw_only=True):
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


class GroupResults(Part, frozen=True, kw_only=True):
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


class Requests(Part, frozen=True, kw_only=True):
    """Requests for streams: what clients sent, and what of it came through to each side; null where nobody can tell."""

    sent: int = 0
    edge: int | None = None
    origin: int | None = None
    origin_streams_peak: int | None = None
    edge_clients_peak: int | None = None


class Fetches(Seconds, frozen=True, kw_only=True):
    """Flags fetched after events and at the start of apps."""

    failed: int = 0
    older: int = 0
    """Answered with an older version than the client had been told of."""
    per_s_peak: float = 0.0


class Publishing(Part, frozen=True, kw_only=True):
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


class Process(Part, frozen=True, kw_only=True):
    """What the processes of one program used: CPU seconds of the run, most bytes resident, at the start and the end."""

    name: str
    cpu_s: float = 0.0
    rss_peak: int = 0
    rss_begin: int = 0
    rss_end: int = 0


class Generator(Part, frozen=True, kw_only=True):
    """The swarm's own cost; `busy_peak` is a share (0 to 1), `late_max_ms` the most belated timer."""

    processes: int = 0
    streams_per_process_peak: int = 0
    cpu_s: float = 0.0
    cpu_us_per_event: float | None = None
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


class Threshold(Part, frozen=True, kw_only=True):
    """One condition of the scenario; `value` null fails it."""

    figure: str
    """A path into these results, as ``delivery.p99_ms``."""
    condition: str
    """As ``<= 500``."""
    value: float | None
    passed: bool


class Series(Part, frozen=True, kw_only=True):
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


class Results(Part, frozen=True, kw_only=True):
    """One run."""

    format: int = FORMAT
    name: str
    title: str = ""
    verdict: Literal["passed", "failed", "interrupted"]
    """`failed` if any threshold failed or the run could not be made as planned; see `reasons`."""
    reasons: list[str] = []
    warnings: list[str] = []
    thresholds: list[Threshold] = []
    seconds: float = 0.0
    """How long the run took, from the first stream asked for."""
    streams: Streams = Streams()
    delivery: Delivery = Delivery()
    opening: Seconds = Seconds()
    gap: Seconds = Seconds()
    """From the clean end of a stream to the client's next live one; by its model, a client may wish to wait."""
    readmission: Readmission = Readmission()
    staleness: Staleness = Staleness()
    lost: int = 0
    """Clients that, at the end of the run, still tried to follow and were not at the newest version."""
    duplicates: int = 0
    out_of_order: int = 0
    invalid: int = 0
    faults: list[Fault] = []
    requests: Requests = Requests()
    fetches: Fetches = Fetches()
    publishing: Publishing = Publishing()
    errors: dict[str, int] = {}
    groups: list[GroupResults] = []
    server: list[Process] = []
    """By program, where the stack is local."""
    generator: Generator = Generator()
    series: Series = Series()
    scenario: dict[str, Any] = {}
    """As it was run, overrides applied."""
    provenance: dict[str, Any] = {}
    """Versions, machine, settings, command, moment."""


class _Format(msgspec.Struct):
    format: int = FORMAT


def seconds(histogram: Histogram) -> dict[str, Any]:
    """Return the fields of `Seconds` for a histogram."""
    return {
        "count": histogram.count,
        **{
            name: histogram.percentile(share)
            for name, share in (("p50_s", 0.5), ("p90_s", 0.9), ("p99_s", 0.99), ("max_s", 1.0))
        },
        "histogram": histogram.pairs(),
    }


def written(results: Results) -> bytes:
    """Return the JSON of results, indented."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def read(path: Path) -> Results:
    """Return the results in a file; raises OSError, and ValueError with what is wrong with it."""
    data = path.read_bytes()
    try:
        found = msgspec.json.decode(data, type=_Format).format  # first: what else another one has may be anything
        if found == FORMAT:
            return msgspec.json.decode(data, type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} holds no results of a load test: {error}") from None
    raise ValueError(f"{path} has format {found}; this version reads format {FORMAT}")
