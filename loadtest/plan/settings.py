"""A plan as its TOML has it: who the clients are, what stands between them and the origin, what fails, what it costs.

Defaults of `Costs` are those measured in benchmarks/RESULTS.md, of `Prices` list prices with their source; both belong
to somebody else's machine and contract, so each can be set.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from loadtest.models import MODELS
from loadtest.plan.timeline import with_timeline

__all__ = [
    "Changes",
    "Clients",
    "Costs",
    "Edge",
    "Environments",
    "Failure",
    "Mix",
    "Origin",
    "Plan",
    "Prices",
    "Region",
    "Run",
    "Streams",
    "Targets",
    "Tier",
]

Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]

MOST_NODES = 8_000_000
"""POPs times environments: each takes 32 bytes."""


class Table(BaseModel):
    """What all have: unknown keys are faults, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Mix(Table):
    """One kind of client, a `share` of all (shares need not add up to anything: they are proportions)."""

    model: str
    share: Positive = 1.0
    via: Literal["default", "origin", "edge"] = "default"
    """`default`: the edge if there is one, else the origin."""
    fetches: bool = True

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODELS:
            raise ValueError(f"there is no client model {name!r}; there are {', '.join(MODELS)}")
        return name


class Clients(Table):
    """All clients: they open their streams evenly over the first `open_over` seconds."""

    count: Annotated[int, Field(ge=1, le=50_000_000)] = 1_000_000
    open_over: Seconds = 30.0
    mix: tuple[Mix, ...] = (
        Mix(model="flagsmith-python", share=10),
        Mix(model="flagsmith-js", share=40),
        Mix(model="flagsmith-ios", share=15),
        Mix(model="flagsmith-android", share=15),
        Mix(model="flagsmith-go", share=5),
        Mix(model="eventsource", share=5),
        Mix(model="flagstream", share=10),
    )

    @field_validator("mix")
    @classmethod
    def _some(cls, mix: tuple[Mix, ...]) -> tuple[Mix, ...]:
        if not mix:
            raise ValueError("needs at least one kind of client")
        return mix


class Environments(Table):
    """How many environments and how clients spread over them; the n-th of `zipf` has 1/n^exponent of the first's."""

    count: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    spread: Literal["even", "zipf"] = "zipf"
    exponent: Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)] = 1.0


class Region(Table):
    """Where clients are: a `share` of them, near `pops` POPs. Round trips in milliseconds."""

    name: str
    share: Positive = 1.0
    pops: Annotated[int, Field(ge=1, le=500)] = 10
    rtt_ms: Amount = 20.0
    """Client to POP."""
    origin_rtt_ms: Amount = 80.0
    """POP, or a client that goes directly, to the origin."""


class Edge(Table):
    """What stands between clients and the origin; `on = false` is direct.

    `kind` says who runs it and so what it costs: a `cdn` by contract, or Varnish of one's `own`.
    """

    on: bool = True
    kind: Literal["cdn", "own"] = "cdn"
    shield: Literal["none", "region", "one"] = "none"
    while_down: Literal["waiting-room", "last-resort", "error"] = "waiting-room"
    """What the stream path answers while no origin does."""
    guard: bool = False
    """Whether a finished stream is never replayed (our Varnish); then a waiting room lets everybody go at once."""
    opens_per_s: Amount = 0.0
    """Streams that one POP can open a second; 0: any number."""
    keeps_documents: bool = True
    """Whether documents asked for by version (`?v=`) are kept."""


class Streams(Table):
    """What the stream server is set to; `join_window = 0` lets nobody join a stream once its head is there."""

    lifetime: Annotated[float, Field(ge=2, le=86_400, allow_inf_nan=False)] = 30.0
    join_window: Seconds = 20.0
    heartbeat: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 15.0
    retry: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 2.0
    min_interval: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.25
    """Seconds between two events of an environment, at least: changes that come faster are told of as one."""


class Changes(Table):
    """How often flags change, and what the clients that are told of it fetch."""

    per_environment_per_hour: Amount = 2.0
    document_bytes: Annotated[int, Field(ge=0, le=100_000_000)] = 4096
    """Of an answer's body, as it is sent (compressed if it is)."""
    fetch: bool = True


class Origin(Table):
    """The stream servers. `processes = 0`: as many as the plan needs by its steady state, two at least."""

    processes: Annotated[int, Field(ge=0, le=100_000)] = 0
    cores: Amount = 0.0
    """Cores of all machines together, or what others leave of them; 0: one for each process."""
    backlog: Annotated[int, Field(ge=1, le=65_535)] = 4096
    """Connections that wait for one process before the kernel drops more; they try again after 1, 2, 4 … s."""
    restart: Seconds = 0.66
    """From a worker's death to its successor's first answer: of 1.68 s until 15,000 were back, what opening left."""


class Costs(Table):
    """What a stream costs, as measured (benchmarks/RESULTS.md says how and on what)."""

    delivery_us: Positive = 5.36
    """CPU of the stream server for an event to one stream."""
    open_us: Positive = 68.0
    """CPU of the stream server for a stream that is opened."""
    document_us: Positive = 50.0
    """CPU of the stream server for a document from memory."""
    stream_kib: Positive = 0.83
    """Memory of the process for a stream, as at a million streams."""
    kernel_kib: Positive = 10.0
    """Memory of the kernel for a stream; measured for both ends of a loopback connection, so too much."""
    process_mib: Positive = 69.0
    """Memory of a process without streams."""
    streams_per_process: Annotated[int, Field(ge=1, le=10_000_000)] = 19_000
    """Under the limit of open files of a process, less what it needs itself."""
    edge_delivery_us: Positive = 23.2
    """CPU of a Varnish for an event to one client."""
    edge_client_kib: Positive = 47.4
    """Memory of a Varnish for a client."""


class Tier(Table):
    """A price in dollars for a GB (10⁹ bytes), up to so many GB a month; the last tier has no end."""

    per_gb: Amount
    up_to_gb: Positive | None = None


class Prices(Table):
    """Dollars a month: list prices of 2026 as an example, from copies of pages; put your own in.

    docs/planning.md names the pages. CDN: Fastly by usage, North America and Europe. Egress: AWS EC2 to the internet.
    Machine: AWS c6i.2xlarge on demand, $0.34 an hour for 730 hours.
    """

    cdn: tuple[Tier, ...] = (
        Tier(up_to_gb=100, per_gb=0.0),
        Tier(up_to_gb=10_000, per_gb=0.12),
        Tier(per_gb=0.08),
    )
    cdn_per_10k_requests: Amount = 0.0095
    """For each answer, a stream's too however long it lives; a shield's answers to POPs count as well."""
    cdn_least: Amount = 50.0
    egress: tuple[Tier, ...] = (
        Tier(up_to_gb=100, per_gb=0.0),
        Tier(up_to_gb=10_000, per_gb=0.09),
        Tier(up_to_gb=50_000, per_gb=0.085),
        Tier(up_to_gb=150_000, per_gb=0.07),
        Tier(per_gb=0.05),
    )
    machine: Amount = 248.20
    machine_cores: Annotated[int, Field(ge=1, le=1024)] = 8
    machine_gib: Positive = 16.0
    least_machines: Annotated[int, Field(ge=1, le=1000)] = 2

    @field_validator("cdn", "egress")
    @classmethod
    def _ascending(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        ends = [tier.up_to_gb for tier in tiers]
        if not ends or ends[-1] is not None or None in ends[:-1]:
            raise ValueError("needs tiers of which the last, and no other, has no up_to_gb")
        bounds = [end for end in ends if end is not None]
        if sorted(set(bounds)) != bounds:
            raise ValueError("each tier must end above the one before it")
        return tiers


class Targets(Table):
    """What the machines have to be enough for."""

    delivery_p99_ms: Positive = 500.0
    """One change to the largest environment, from the stream server to its last clients."""
    storm_s: Positive = 10.0
    """All streams of an origin opened anew."""
    load: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Share of the cores and of the memory that may be used in the steady state."""


class Failure(Table):
    """What fails, `at` seconds into the run, for `down` seconds.

    pop: the first `count` POPs are lost; after `reroute` seconds their clients reach others.
    origin: all stream servers are gone, and so is their port: whoever asks is refused, or gets what the edge has.
    workers: a `share` of the processes dies; their sockets stay with the supervisor, and who asks waits `down` or
    `origin.restart`, whichever is longer.
    cdn: the whole edge is lost; after `reroute` seconds its clients go to the origin.
    deploy: all processes are replaced in place; streams reach their own end, nobody is refused.
    """

    at: Seconds
    do: Literal["pop", "origin", "workers", "cdn", "deploy"]
    down: Seconds = 10.0
    count: Annotated[int, Field(ge=1, le=500)] = 1
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    reroute: Seconds = 2.0


class Run(Table):
    """How it is simulated. Results do not depend on `step` by more than what docs/planning.md says."""

    seconds: Annotated[float, Field(gt=0, le=3600)] = 180.0
    step: Annotated[float, Field(ge=0.001, le=0.25)] = 0.05
    bin: Annotated[float, Field(ge=0.05, le=10)] = 0.25
    """Seconds between the points of a curve; rates are means over it."""
    seed: Annotated[int, Field(ge=0, le=2**63)] = 1


class Plan(Table):
    """A whole plan.

    Where it says neither `failures` nor how long the run is, both follow from the lifetime: two lifetimes after all
    are there a POP is lost, and after that the origin.
    """

    title: str = "A plan"
    clients: Clients = Clients()
    environments: Environments = Environments()
    regions: tuple[Region, ...] = (
        Region(name="North America", share=40, pops=20, rtt_ms=20, origin_rtt_ms=40),
        Region(name="Europe", share=35, pops=20, rtt_ms=20, origin_rtt_ms=100),
        Region(name="Asia and Pacific", share=20, pops=15, rtt_ms=40, origin_rtt_ms=180),
        Region(name="South America", share=5, pops=5, rtt_ms=40, origin_rtt_ms=140),
    )
    edge: Edge = Edge()
    streams: Streams = Streams()
    changes: Changes = Changes()
    origin: Origin = Origin()
    costs: Costs = Costs()
    prices: Prices = Prices()
    targets: Targets = Targets()
    failures: tuple[Failure, ...] = ()
    run: Run = Run()

    @model_validator(mode="before")
    @classmethod
    def _timeline(cls, data: Any) -> Any:
        return with_timeline(data) if isinstance(data, dict) else data

    @property
    def pops(self) -> int:
        """POPs of all regions."""
        return sum(region.pops for region in self.regions)

    @property
    def tiers(self) -> int:
        """Tiers of cache between a client and the origin."""
        return (1 if self.edge.shield == "none" else 2) if self.edge.on else 0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.regions:
            raise ValueError("regions: needs at least one")
        faults = [
            *self._windows(),
            *(
                f"failures[{number}].at: {failure.at:g} s is not within the run of {self.run.seconds:g} s"
                for number, failure in enumerate(self.failures)
                if failure.at >= self.run.seconds
            ),
            *(
                f"failures[{number}].do: there is no edge that could be lost"
                for number, failure in enumerate(self.failures)
                if failure.do in {"pop", "cdn"} and not self.edge.on
            ),
            *(
                f"failures[{number}].count: {failure.count} of {self.pops} POPs; at least one must be left"
                for number, failure in enumerate(self.failures)
                if failure.do == "pop" and failure.count >= self.pops
            ),
        ]
        if self.edge.on and self.pops * self.environments.count > MOST_NODES:
            faults.append(
                f"environments.count: {self.pops} POPs times {self.environments.count} environments are more than "
                f"{MOST_NODES} edge nodes"
            )
        ordered = sorted(self.failures, key=lambda failure: failure.at)
        for before, after in pairwise(ordered):
            if after.at < before.at + before.down:
                faults.append(
                    f"failures: {after.do} at {after.at:g} s begins before {before.do} of {before.at:g} s is over; "
                    "one at a time can be told apart"
                )
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _windows(self) -> list[str]:
        streams, tiers = self.streams, self.tiers
        if self.edge.on and streams.join_window > streams.lifetime - (1 + tiers):
            most = f"lifetime - {1 + tiers} s = {streams.lifetime - 1 - tiers:g} s"
            return [
                f"streams.join_window: {streams.join_window:g} s must be at most {most}, or ended streams are replayed"
            ]
        return []
