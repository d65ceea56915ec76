"""A whole plan, with the rules that hold between its tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

from pydantic import model_validator

from loadtest.plan.settings.clients import Clients, Environments, Region
from loadtest.plan.settings.costs import Costs, Prices, Targets
from loadtest.plan.settings.failures import Failure, Run
from loadtest.plan.settings.servers import Changes, Edge, Origin, Streams
from loadtest.plan.settings.table import Table
from loadtest.plan.timeline import with_timeline

__all__ = ["Plan"]

MOST_NODES = 8_000_000
"""POPs times environments: each takes 32 bytes."""


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
