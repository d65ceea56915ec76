"""A scenario as its TOML has it: who the clients are, what is published, what is done to them, and what must hold."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from loadtest.models import MODELS

__all__ = ["Clients", "Environments", "Fault", "Local", "Mix", "Publishing", "Scenario"]

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Range = tuple[Seconds, Seconds]

PARTS = ("worker", "workers", "stream_server", "edge", "waiting_room", "publisher", "nats", "redis")


class Table(BaseModel):
    """What all have: unknown keys are faults, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Local(Table):
    """The stack that ``--local`` brings up; `settings` are those of the stream server."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    edge: Literal["none", "varnish"] = "none"
    redis: bool = False
    settings: dict[str, Any] = {}


class Environments(Table):
    """How many environments, or which: `keys` are client-side keys of a server that is not local."""

    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    keys: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")], ...] = ()


class Slow(Table):
    """Reads up to `bytes` every `every` seconds; `every = 0` never reads."""

    every: Seconds = 0.0
    bytes: Annotated[int, Field(ge=1, le=1 << 20)] = 4096


class Mix(Table):
    """One kind of client, a `share` of all (shares need not add up to anything: they are proportions)."""

    model: str
    share: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    name: str = ""
    via: Literal["default", "origin", "edge"] = "default"
    """`default`: the edge if there is one, else the origin."""
    stays: Range | None = None
    away: Range = (0.0, 0.0)
    slow: Slow | None = None
    fetches: bool = True
    loads: bool = False

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODELS:
            raise ValueError(f"there is no client model {name!r}; there are {', '.join(MODELS)}")
        return name


class Clients(Table):
    """All clients: they open their streams evenly over the first `open_over` seconds."""

    count: Annotated[int, Field(ge=1, le=10_000_000)]
    open_over: Seconds = 5.0
    mix: tuple[Mix, ...] = ()


class Publishing(Table):
    """Changes at a fixed `rate` a second, whatever the answers; from `start` until `until` seconds of the run.

    `to` says whose: `each` takes one environment after the other, `random` any, `all` changes all at once (then the
    rate counts rounds). `arrivals` are evenly spaced or, with `poisson`, as independent events come.
    """

    rate: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] = 1.0
    start: Seconds = 0.0
    until: Seconds = math.inf
    to: Literal["each", "random", "all"] = "each"
    arrivals: Literal["even", "poisson"] = "even"


class Fault(Table):
    """One entry of the timeline, `at` seconds into the run.

    kill: `part` by kill -9 (what supervises it starts it again); `down` seconds later at the earliest.
    stop: `part` is asked to end (SIGTERM), and started again `down` seconds after it did.
    freeze: `part` is stopped (SIGSTOP) for `down` seconds.
    deploy: `part` is replaced in place, one worker after the other (SIGHUP).
    cut: a `share` of all connections is broken by the clients' side.
    clients: `times` as many clients, coming within `over` seconds, leaving after `lasts`.
    rate: publishing at `times` the rate for `lasts` seconds.
    run: a command of yours, for stacks that are not local.
    """

    at: Seconds
    do: Literal["kill", "stop", "freeze", "deploy", "cut", "clients", "rate", "run"]
    part: Literal["worker", "workers", "stream_server", "edge", "waiting_room", "publisher", "nats", "redis"] | None = (
        None
    )
    down: Seconds = 0.0
    share: Share = 1.0
    times: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    over: Seconds = 0.0
    lasts: Seconds = 0.0
    command: tuple[str, ...] = ()
    about: str = ""


class Scenario(Table):
    """A whole scenario: `seconds` long, with up to `settle` seconds after it until all must be current."""

    title: str
    about: str = ""
    seconds: Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]
    settle: Seconds = 10.0
    seed: int = 1
    local: Local = Local()
    environments: Environments = Environments()
    clients: Clients
    publish: Publishing = Publishing()
    timeline: tuple[Fault, ...] = ()
    thresholds: dict[str, str] = {}
    """Paths into the results and what must hold of them: ``"delivery.p99_ms" = "<= 500"``."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        return self
