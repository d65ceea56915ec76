"""What a plan comes to, as its JSON has it. ``_s`` and ``_ms`` name the unit, money is dollars; null: there is none."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = [
    "Away",
    "Bandwidth",
    "Costs",
    "Documents",
    "FailureOutcome",
    "Outcome",
    "Point",
    "Series",
    "Sizing",
    "Steady",
    "Way",
    "written",
]

FORMAT: Final = 1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What all have: they are values, made by name."""


class Steady(Part, frozen=True, kw_only=True):
    """Between the opening of all streams and the first failure."""

    since_s: float
    until_s: float
    open: float
    """Clients with a stream, on average; who is between two streams is not among them."""
    opens_per_s: float
    """Streams that clients open, at the edge where there is one."""
    opens_per_s_peak: float
    """In the fullest bin: clients whose streams end together come back together."""
    origin_opens_per_s: float
    origin_opens_per_s_peak: float
    origin_streams_p50: float
    origin_streams_peak: float


class Away(Part, frozen=True, kw_only=True):
    """From the loss of a stream to the next one, over those who came back within the run."""

    count: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None


class FailureOutcome(Part, frozen=True, kw_only=True):
    """One failure."""

    at_s: float
    what: str
    cut: int
    """Clients whose stream it took."""
    open_least: int
    """The fewest that had a stream of an origin's until the next failure."""
    gave_up: int
    readmission: Away
    """To any stream, a waiting room's included: what a load test sees."""
    back: Away
    """To a stream of the origin's."""
    not_back: int
    """That were still without at the end of the run, and try."""
    requests_per_s_peak: float
    """Requests of clients for streams, those of endless loops included."""
    opens_per_s_peak: float
    origin_opens_per_s_peak: float


class Documents(Part, frozen=True, kw_only=True):
    """Fetches of flags: in the steady state, and after one change to the largest environment."""

    edge_per_s: float
    origin_per_s: float
    clients: int
    """That have the largest environment, fetch or not."""
    edge_requests: int
    origin_requests: int
    spread_s: float
    """Seconds over which they come."""
    edge_per_s_peak: float
    origin_per_s_peak: float


class Bandwidth(Part, frozen=True, kw_only=True):
    """Bytes a second in the steady state, as they are billed: a CDN's without, an origin's with packet headers."""

    clients: float
    """What clients are sent, by the edge where there is one."""
    origin: float
    """What the origin sends."""


class Sizing(Part, frozen=True, kw_only=True):
    """Stream servers that one way takes: each figure is what that reason alone asks for."""

    streams: int
    """At its peak in the steady state."""
    storm_streams: int
    processes_by_descriptors: int
    gib: float
    machines_by_memory: int
    cores_steady: float
    cores_by_delivery: float
    cores_by_storm: float
    processes: int
    machines: int
    edge_machines: int = 0
    """Varnish machines, where the edge is one's own."""


class Costs(Part, frozen=True, kw_only=True):
    """Dollars a month."""

    way: str
    """``direct``, ``cdn`` or ``own edge``."""
    machines: float
    egress: float
    cdn_traffic: float
    cdn_requests: float
    total: float
    per_million_client_hours: float


class Way(Part, frozen=True, kw_only=True):
    """Dollars a month of one way, in all."""

    way: str
    total: float
    per_million_client_hours: float


class Point(Part, frozen=True, kw_only=True):
    """The costs of a fleet of another size, or with streams of another lifetime."""

    clients: int
    lifetime_s: float
    ways: list[Way]


class Series(Part, frozen=True, kw_only=True):
    """Curves, one value for each moment of `at_s`."""

    at_s: list[float]
    open: list[int]
    in_waiting_room: list[int]
    connecting: list[int]
    waiting: list[int]
    gave_up: list[int]
    requests_per_s: list[float]
    opens_per_s: list[float]
    losses_per_s: list[float]
    origin_opens_per_s: list[float]
    origin_streams: list[int]


class Outcome(Part, frozen=True, kw_only=True):
    """A whole plan's."""

    format: int = FORMAT
    title: str
    clients: int
    processes: int
    """That were simulated."""
    steady: Steady
    failures: list[FailureOutcome]
    documents: Documents
    bandwidth: Bandwidth
    sizing: dict[str, Sizing]
    costs: list[Costs]
    through_is_cheaper: list[tuple[int, int | None]]
    """Numbers of clients, from and to, between which the edge costs less than going directly; null: 10⁹ and more."""
    break_even_clients: int | None
    """From how many on the edge costs less for good."""
    cheaper_from_lifetime_s: float | None
    """How long streams have to live for the edge to cost less than going directly; null: more than a day."""
    even_cdn_price: float | None
    """Dollars for 10,000 requests at which a CDN costs as much as going directly; null: not even for nothing."""
    by_clients: list[Point]
    by_lifetime: list[Point]
    notes: list[str]
    """What is not as the plan may lead one to expect."""
    series: Series
    plan: dict[str, Any]
    provenance: dict[str, Any] = {}


def written(outcome: Outcome) -> bytes:
    """Return the JSON of an outcome, indented."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=1) + b"\n"
