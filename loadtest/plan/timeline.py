"""When things happen in a plan that does not say: late enough that the steady state has been seen by then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["steady_by", "with_timeline"]

LIFETIMES: Final = 2
"""That pass between the opening of all streams and the first failure."""
POP_DOWN: Final = 30.0
BETWEEN: Final = 40.0
"""Seconds from the loss of a POP to that of the origin."""
ORIGIN_DOWN: Final = 10.0
AFTERWARDS: Final = 40.0
"""Seconds that are simulated after the last failure is over."""
LONGEST: Final = 3600.0
"""Seconds that a run may have."""


def steady_by(open_over: float, lifetime: float) -> float:
    """Return the second from which on a whole lifetime of the steady state lies behind."""
    return open_over + LIFETIMES * lifetime


def with_timeline(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan, as read, with `failures` and `run.seconds` where it has none; faults in it stay as they are."""
    whole = dict(data)
    run = whole.get("run", {})
    if not isinstance(run, dict):
        return whole
    begin = steady_by(_number(whole, "clients", "open_over", 30.0), _number(whole, "streams", "lifetime", 30.0))
    begin = min(begin, LONGEST - BETWEEN - ORIGIN_DOWN - AFTERWARDS)
    if "failures" not in whole:
        edge = _value(whole, "edge", "on", default=True) is True
        regions = whole.get("regions", ())
        regions = regions if isinstance(regions, list | tuple) else ()
        pops = [_value({"region": region}, "region", "pops", default=10) for region in regions]
        kinds = [("pop", begin, POP_DOWN)] if edge and pops not in ([1], [0]) else []
        kinds.append(("origin", begin + BETWEEN if edge else begin, ORIGIN_DOWN))
        end = run.get("seconds", LONGEST)
        whole["failures"] = [
            {"do": do, "at": at, "down": down}
            for do, at, down in kinds
            if not isinstance(end, int | float) or at + down <= end
        ]
    if "seconds" not in run:
        failures = whole["failures"] if isinstance(whole["failures"], list | tuple) else ()
        tables = [{"failure": each} for each in failures]
        ends = [_number(each, "failure", "at", 0.0) + _number(each, "failure", "down", 10.0) for each in tables]
        whole["run"] = {**run, "seconds": min(max([begin, *ends]) + AFTERWARDS, LONGEST)}
    return whole


def _value(data: Mapping[str, Any], table: str, key: str, default: Any) -> Any:
    found = data.get(table, {})
    return found.get(key, default) if isinstance(found, Mapping) else getattr(found, key, default)


def _number(data: Mapping[str, Any], table: str, key: str, default: float) -> float:
    found = _value(data, table, key, default)
    return float(found) if isinstance(found, int | float) and 0 <= found <= 86_400 else default  # noqa: PLR2004 - a day
