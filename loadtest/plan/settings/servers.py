"""What clients meet: an edge, the stream servers behind it, and flags that change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from loadtest.plan.settings.table import Amount, Seconds, Table

__all__ = ["Changes", "Edge", "Origin", "Streams"]


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
    """Cores of all machines together; 0: one for each process."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of a core that a process gets when it wants all of it, where other programs want the same cores."""
    tls: bool = False
    """Whether the stream servers end TLS themselves."""
    backlog: Annotated[int, Field(ge=1, le=65_535)] = 4096
    """Connections that wait for one process before the kernel drops more; they try again after 1, 2, 4 … s."""
    restart: Seconds = 0.66
    """From a worker's death to its successor's first answer: of 1.68 s until 15,000 were back, what opening left."""
