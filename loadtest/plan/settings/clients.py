"""Who the clients are, where they are, and to which environments they belong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from loadtest.models import MODELS
from loadtest.plan.settings.table import Amount, Positive, Seconds, Table

__all__ = ["Clients", "Environments", "Mix", "Region"]


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
