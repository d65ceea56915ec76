"""Plans of one place and one environment, in which what must come out can be worked out."""

from __future__ import annotations

from typing import Any

from loadtest.plan.settings import Plan

__all__ = ["FAR", "of", "plan"]

FAR = {"seconds": 150, "step": 0.25, "bin": 0.5}
HERE = [{"name": "here", "pops": 1, "rtt_ms": 0, "origin_rtt_ms": 0}]


def plan(**given: Any) -> Plan:
    """Return a plan without failures, with what is given."""
    return Plan.model_validate({"regions": HERE, "environments": {"count": 1}, "failures": [], **given})


def of(model: str, count: int, **more: Any) -> dict[str, Any]:
    """Return the clients of a plan that are all of one model."""
    return {"count": count, "mix": [{"model": model}], **more}
