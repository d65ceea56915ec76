"""What fails and when, and how that is simulated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from loadtest.plan.settings.table import Seconds, Table

__all__ = ["Failure", "Run"]


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
