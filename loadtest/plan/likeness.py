"""The plan of a real run: what its results say that it was, and what no plan can know of the machine that it was on."""

from __future__ import annotations

from typing import Any, Final

from loadtest.plan.settings import Origin, Plan, Streams
from loadtest.results import Fault, Results
from loadtest.scenario.schema import Scenario

__all__ = ["UnlikeError", "plan_of", "share_had"]

VARNISH_OPENS_PER_S: Final = 9400.0
"""15,000 clients in 1.6 s through one Varnish on two cores that it shared with them (benchmarks/RESULTS.md)."""

SERVER: Final = "stream_server"

CROWD: Final = 0.05
"""Share of the clients that has to wait for an answer for the server to count as busy."""


class UnlikeError(ValueError):
    """The run had something that a plan has not; the message says what."""


def plan_of(results: Results) -> Plan:
    """Return the plan of what a run was; raises `UnlikeError` for what no plan has."""
    try:
        scenario = Scenario.model_validate(_said(results.scenario))
    except ValueError as error:
        raise UnlikeError(f"the scenario in the results cannot be read: {error}") from None
    settings = scenario.local.settings
    edge = scenario.local.edge == "varnish"
    failures = [_failure(fault.model_dump(), scenario.local.workers) for fault in scenario.timeline]
    for mix in scenario.clients.mix:
        if mix.stays is not None or mix.slow is not None:
            raise UnlikeError("some of its clients leave, or read slowly, and those of a plan do not")
    return Plan.model_validate(
        {
            "title": results.title or results.name,
            "clients": {
                "count": scenario.clients.count,
                "open_over": scenario.clients.open_over,
                "mix": [
                    {"model": mix.model, "share": mix.share, "via": mix.via, "fetches": mix.fetches}
                    for mix in scenario.clients.mix
                ]
                or [{"model": "flagstream"}],
            },
            "environments": {
                "count": max(scenario.environments.count, len(scenario.environments.keys)),
                "spread": "even",
            },
            "regions": [{"name": "loopback", "pops": 1, "rtt_ms": 0, "origin_rtt_ms": 0}],
            "edge": {"on": edge, "kind": "own", "guard": True, "opens_per_s": VARNISH_OPENS_PER_S if edge else 0},
            "streams": {name: settings[name] for name in Streams.model_fields if name in settings},
            "changes": {"per_environment_per_hour": min(scenario.publish.rate * 3600, 1e9)},
            "origin": {
                "processes": scenario.local.workers,
                "cores": _cores(results) or float(scenario.local.workers),
                "share": share_had(results),
            },
            "failures": failures,
            "run": {"seconds": max(scenario.seconds, 1.0), "bin": 0.25, "step": 0.02, "seed": scenario.seed},
        }
    )


def share_had(results: Results) -> float:
    """Return the share of a core that a worker got when it wanted all of one; 1 where none was seen to.

    Given, not foreseen: a generator and whatever else runs on the machine take theirs, and no plan knows how much. A
    worker wants all of one from its start until it has opened what waits for it.
    """
    series = results.series
    used = series.cpu.get(SERVER, [])
    local = results.scenario.get("local") or {}
    workers = int(local.get("workers", 1))
    together = [
        cores / workers
        for fault in results.faults
        if fault.what == "kill workers"
        for cores in _until_one_opens(results, fault, used)
    ]
    behind_edge = local.get("edge") == "varnish"
    if behind_edge and not any(fault.what.startswith("kill worker") for fault in results.faults):
        return 1.0  # who waits there waits for the edge
    crowd = results.streams.clients * CROWD
    alone = [
        cores for cores, connecting in zip(used, series.connecting, strict=False) if connecting >= crowd and cores > 0
    ]
    # With one of them killed others work beside it, so what is used then is no less than its share.
    had = together or ([min(1.0, sum(alone) / len(alone))] if alone else [])
    return min(1.0, max(sum(had) / len(had), 0.01)) if had else 1.0


def _cores(results: Results) -> float:
    """Return the cores of the machine that a run was on, 0 where its results do not say."""
    machine = results.provenance.get("machine")
    cores = machine.get("cores") if isinstance(machine, dict) else None
    return float(cores) if isinstance(cores, int | float) else 0.0


def _until_one_opens(results: Results, fault: Fault, used: list[float]) -> list[float]:
    """Return the cores in use from a fault, of whole points, until a stream is opened again."""
    series = results.series
    found: list[float] = []
    before = fault.at_s
    for moment, cores, opens in zip(series.at_s, used, series.opens_per_s, strict=False):
        if before > fault.at_s:
            if opens > 0:
                break
            found.append(cores)
        if moment > fault.at_s:
            before = moment
    return found


def _said(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table without what JSON cannot say: an endless `until` is null there."""
    return {
        key: _said(value) if isinstance(value, dict) else value for key, value in table.items() if value is not None
    }


def _failure(fault: dict[str, Any], workers: int) -> dict[str, Any]:
    what, part, down = fault["do"], fault["part"], fault["down"]
    match what, part:
        case "kill", "worker":
            return {"at": fault["at"], "do": "workers", "down": down, "share": 1 / workers}
        case "kill", "workers":
            return {"at": fault["at"], "do": "workers", "down": down}
        case "kill", "stream_server":
            return {"at": fault["at"], "do": "origin", "down": down + Origin().restart}
        case "kill", "edge":
            return {"at": fault["at"], "do": "cdn", "down": down, "reroute": 86_400}
        case "deploy", _:
            return {"at": fault["at"], "do": "deploy", "down": down}
    raise UnlikeError(
        f"its timeline has {what!r}{f' of {part!r}' if part else ''} at {fault['at']:g} s, which no plan can play; "
        "docs/planning.md has what fails in one"
    )
