"""What a stream costs, what that is paid with, and what the machines have to be enough for.

Defaults of `Costs` are those measured in benchmarks/RESULTS.md, of `Prices` list prices with their source; both belong
to somebody else's machine and contract, so each can be set.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from loadtest.plan.settings.table import Amount, Positive, Table

__all__ = ["Costs", "Prices", "Targets", "Tier"]


class Costs(Table):
    """What a stream costs, as measured (benchmarks/RESULTS.md says how and on what)."""

    delivery_us: Positive = 5.36
    """CPU of the stream server for an event to one stream."""
    open_us: Positive = 68.0
    """CPU of the stream server for a stream that is opened while others wait to be."""
    open_alone_us: Positive = 190.0
    """The same while no others do: each of its steps wakes the process. It decides the steady state, not storms."""
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
    tls_open_us: Amount = 440.0
    """What TLS adds to a stream on a new connection: a full handshake (TLS 1.3, a P-256 certificate)."""
    tls_delivery_us: Amount = 5.0
    """What it adds to an event to one stream."""
    tls_kib: Amount = 27.0
    """What it adds to the memory of the process for a stream."""
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
