"""A plan as its TOML has it: who the clients are, what stands before the origin, what fails, and what it costs."""

from __future__ import annotations

from loadtest.plan.settings.clients import Clients, Environments, Mix, Region
from loadtest.plan.settings.costs import Costs, Prices, Targets, Tier
from loadtest.plan.settings.failures import Failure, Run
from loadtest.plan.settings.plan import Plan
from loadtest.plan.settings.servers import Changes, Edge, Origin, Streams

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
