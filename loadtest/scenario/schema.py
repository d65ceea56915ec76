"""A scenario as its TOML has it: who the clients are, what is published, what is done to them, and what must hold."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from loadtest.models import MODELS

__all__ = ["PARTS", "Clients", "Environments", "Fault", "Local", "Mix", "Publishing", "Scenario", "Slow", "Table"]

# Numbers are strict: a number in quotes or `true` in its place is a slip of the pen, not a wish.
Seconds = Annotated[float, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
Range = tuple[Seconds, Seconds]

Part = Literal["worker", "workers", "stream_server", "edge", "waiting_room", "publisher", "nats", "redis"]
PARTS: Final[tuple[Part, ...]] = (
    "worker",
    "workers",
    "stream_server",
    "edge",
    "waiting_room",
    "publisher",
    "nats",
    "redis",
)


class Table(BaseModel):
    """What all have: unknown keys are faults, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Local(Table):
    """The stack that ``--local`` brings up; `settings` are those of the stream server."""

    workers: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    edge: Literal["none", "varnish"] = "none"
    redis: Switch = False
    settings: dict[str, Any] = {}


class Environments(Table):
    """How many environments, or which: `keys` are client-side keys of a server that is not local."""

    count: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    keys: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")], ...] = ()


class Slow(Table):
    """Reads up to `bytes` every `every` seconds; `every = 0` never reads."""

    every: Seconds = 0.0
    bytes: Annotated[int, Field(strict=True, ge=1, le=1 << 20)] = 4096


class Mix(Table):
    """One kind of client, a `share` of all (shares need not add up to anything: they are proportions)."""

    model: str
    share: Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    """What its figures are under; `Clients` gives a name to each that has none."""
    via: Literal["default", "origin", "edge"] = "default"
    """`default`: the edge if there is one, else the origin."""
    stays: Range | None = None
    away: Range = (0.0, 0.0)
    slow: Slow | None = None
    fetches: Switch = True
    loads: Switch = False

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODELS:
            raise ValueError(f"there is no such client model; there are {', '.join(MODELS)}")
        return name


class Clients(Table):
    """All clients: they open their streams evenly over the first `open_over` seconds.

    Every mix has a name: its own, else its model's, with `-edge`, `-origin` and `-slow` where several would have the
    same. Without a mix all clients are ours.
    """

    count: Annotated[int, Field(strict=True, ge=1, le=10_000_000)]
    open_over: Seconds = 5.0
    mix: Annotated[tuple[Mix, ...], Field(validate_default=True)] = ()

    @field_validator("mix")
    @classmethod
    def _named(cls, mixes: tuple[Mix, ...]) -> tuple[Mix, ...]:
        mixes = mixes or (Mix(model="flagstream"),)
        several = Counter(mix.model for mix in mixes if not mix.name)
        return tuple(
            mix if mix.name else mix.model_copy(update={"name": _name(mix, plain=several[mix.model] == 1)})
            for mix in mixes
        )


def _name(mix: Mix, *, plain: bool) -> str:
    if plain:
        return mix.model
    return mix.model + (f"-{mix.via}" if mix.via != "default" else "") + ("-slow" if mix.slow else "")


class Publishing(Table):
    """Changes at a fixed `rate` a second, whatever the answers; from `start` until `until` seconds of the run.

    `to` says whose: `each` takes one environment after the other, `random` any, `all` changes all at once (then the
    rate counts rounds). `arrivals` are evenly spaced or, with `poisson`, as independent events come.
    """

    rate: Annotated[float, Field(strict=True, ge=0, le=10_000, allow_inf_nan=False)] = 1.0
    start: Seconds = 0.0
    until: Annotated[float, Field(strict=True, ge=0)] = math.inf
    to: Literal["each", "random", "all"] = "each"
    arrivals: Literal["even", "poisson"] = "even"


class Fault(Table):
    """One entry of the timeline, `at` seconds into the run; they are numbered from 1, in order.

    kill: `part` by kill -9 (what supervises it starts it again); `down` seconds later at the earliest.
    stop: `part` is asked to end (SIGTERM), and started again `down` seconds after it did.
    freeze: `part` is stopped (SIGSTOP) for `down` seconds.
    deploy: the stream server is replaced in place, one worker after the other (SIGHUP).
    cut: a `share` of all connections is broken by the clients' side.
    clients: `times` as many clients, coming within `over` seconds, leaving after `lasts`.
    rate: publishing at `times` the rate for `lasts` seconds.
    run: a command of yours, for stacks that are not local.
    """

    at: Seconds
    do: Literal["kill", "stop", "freeze", "deploy", "cut", "clients", "rate", "run"]
    part: Part | None = None
    down: Seconds = 0.0
    share: Share = 1.0
    times: Annotated[float, Field(strict=True, gt=0, le=1000, allow_inf_nan=False)] = 1.0
    over: Seconds = 0.0
    lasts: Seconds = 0.0
    command: tuple[str, ...] = ()
    about: str = ""


class Scenario(Table):
    """A whole scenario: `seconds` long, with up to `settle` seconds after it until all must be current."""

    title: str
    about: str = ""
    seconds: Annotated[float, Field(strict=True, gt=0, le=7 * 86_400, allow_inf_nan=False)]
    settle: Seconds = 10.0
    seed: Annotated[int, Field(strict=True)] = 1
    local: Local = Local()
    environments: Environments = Environments()
    clients: Clients
    publish: Publishing = Publishing()
    timeline: tuple[Fault, ...] = ()
    thresholds: dict[str, str] = {}
    """Paths into the results and what must hold of them: ``"delivery.p99_ms" = "<= 500"``; see `thresholds`."""
