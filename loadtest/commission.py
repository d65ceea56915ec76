"""What a run is to be, and what there is to tell of one that could not begin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest import results
from loadtest.generators import COMMAND
from loadtest.scenario.schema import Scenario

__all__ = ["Plan", "described", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run, and with what."""

    name: str
    scenario: Scenario
    processes: int | None = None
    """How many generators; None for as many as it takes."""
    agents: Sequence[str] = ()
    """``HOST:PORT`` of agents that start them on other hosts; none: this host."""
    token: str = ""
    """The agents' token."""
    command: Sequence[str] = COMMAND
    local: bool = False
    """Whether the servers run on this host, and share its cores."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def failed(plan: Plan, reason: str, *, interrupted: bool = False) -> results.Results:
    """Return the results of a run that could not begin."""
    return results.Results(
        name=plan.name,
        title=plan.scenario.title,
        verdict="interrupted" if interrupted else "failed",
        reasons=[reason],
        scenario=described(plan.scenario),
        provenance=dict(plan.provenance),
    )


def described(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as results have it: what TOML could say, without what does not apply."""
    endless = {"publish": {"until"}} if scenario.publish.until == math.inf else None  # JSON has no infinity
    return scenario.model_dump(mode="json", exclude_none=True, exclude=endless)
