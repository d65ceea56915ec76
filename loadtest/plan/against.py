"""A plan held to a real run: the scenario of a load test's results is simulated, and the two lie side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from loadtest.plan.outcome import Outcome
from loadtest.plan.planning import played
from loadtest.plan.settings import Origin, Plan, Streams
from loadtest.plan.words import Rows
from loadtest.report.figures import change, count, plain, rate, s
from loadtest.report.plots import Unit
from loadtest.results import Results
from loadtest.scenario.schema import Scenario

__all__ = ["Comparison", "Curve", "UnlikeError", "compared", "cores_had", "plan_of"]

VARNISH_OPENS_PER_S: Final = 9400.0
"""15,000 clients in 1.6 s through one Varnish on two cores that it shared with them (benchmarks/RESULTS.md)."""


SERVER: Final = "stream_server"

CROWD: Final = 0.05
"""Share of the clients that has to wait for an answer for the server to count as busy."""


class UnlikeError(ValueError):
    """The run had something that a plan has not; the message says what."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve of both, at the same moments; a moment beyond one of them is None."""

    name: str
    title: str
    unit: Unit
    predicted: list[float | None]
    measured: list[float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both."""

    name: str
    unit: str
    predicted: float | None
    measured: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Predicted beside measured."""

    outcome: Outcome
    figures: list[Figure]
    at_s: list[float]
    curves: list[Curve]
    faults: list[tuple[float, str]]

    def rows(self) -> Rows:
        """Return the figures as a table."""
        write = {"count": count, "per_s": rate, "s": s, "plain": plain}
        return Rows(
            "Predicted and measured",
            ("", "predicted", "measured", "measured against predicted"),
            [
                (
                    figure.name,
                    write[figure.unit](figure.predicted),
                    write[figure.unit](figure.measured),
                    change(figure.predicted, figure.measured),
                )
                for figure in self.figures
            ],
        )


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
            raise UnlikeError("clients that leave, or read slowly, are in no plan")
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
            "origin": {"processes": scenario.local.workers, "cores": cores_had(results)},
            "failures": failures,
            "run": {"seconds": max(scenario.seconds, 1.0), "bin": 0.25, "step": 0.02, "seed": scenario.seed},
        }
    )


def cores_had(results: Results) -> float:
    """Return the cores that the stream server got while clients stood in its queue; 1 where nobody looked.

    Given, not foreseen: a generator and whatever else runs on the machine take theirs, and no plan knows how much.
    """
    series = results.series
    crowd = results.streams.clients * CROWD
    had = [
        cores
        for cores, connecting in zip(series.cpu.get(SERVER, []), series.connecting, strict=False)
        if connecting >= crowd
    ]
    return max(sum(had) / len(had), 0.01) if had else 1.0


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
    raise UnlikeError(f"no plan has {what!r}{f' of {part!r}' if part else ''}; see docs/planning.md for what it has")


def compared(results: Results) -> Comparison:
    """Simulate what a run was, and return both."""
    plan = plan_of(results)
    outcome = played(plan)
    predicted, measured = outcome.series, results.series
    figures = [
        Figure("Cores that the stream server got (given)", "plain", plan.origin.cores, cores_had(results)),
        Figure("Streams, most at once", "count", max(predicted.open), results.streams.peak),
        Figure("Streams opened", "count", sum(predicted.opens_per_s) * plan.run.bin, results.streams.opened),
        Figure("Gave up", "count", predicted.gave_up[-1], results.streams.gave_up),
    ]
    if results.requests.origin_streams_peak is not None:
        figures.append(
            Figure(
                "Streams at the origin, most",
                "count",
                max(predicted.origin_streams),
                results.requests.origin_streams_peak,
            )
        )
    for foreseen, fault in zip(outcome.failures, results.faults, strict=False):
        name = f"{fault.what}, at {s(fault.at_s)}"
        figures += [
            Figure(f"{name}: lost", "count", foreseen.cut, fault.lost),
            Figure(f"{name}: back, 50 %", "s", foreseen.readmission.p50_s, fault.readmission.p50_s),
            Figure(f"{name}: back, 99 %", "s", foreseen.readmission.p99_s, fault.readmission.p99_s),
            Figure(f"{name}: back, last", "s", foreseen.readmission.max_s, fault.readmission.max_s),
            Figure(f"{name}: opens a second, most", "per_s", foreseen.opens_per_s_peak, _peak(results, fault.at_s)),
        ]
    at = [moment for moment in measured.at_s if moment <= predicted.at_s[-1]]
    origin = Curve(
        "origin",
        "Streams at the origin",
        "count",
        _sampled(predicted.origin_streams, predicted.at_s, at),
        _first(measured.origin_streams, at),
    )
    return Comparison(
        outcome=outcome,
        figures=figures,
        at_s=at,
        curves=[
            Curve(
                "open", "Streams open", "count", _sampled(predicted.open, predicted.at_s, at), _first(measured.open, at)
            ),
            Curve(
                "opens",
                "Opened a second",
                "per_s",
                _sampled(predicted.opens_per_s, predicted.at_s, at),
                _first(measured.opens_per_s, at),
            ),
            *([origin] if plan.edge.on else []),  # else it is that of the clients once more
        ],
        faults=[(fault.at_s, fault.what) for fault in results.faults],
    )


def _peak(results: Results, at: float) -> float | None:
    later = [fault.at_s for fault in results.faults if fault.at_s > at]
    until = min(later, default=float("inf"))
    rates = [
        value
        for moment, value in zip(results.series.at_s, results.series.opens_per_s, strict=False)
        if at <= moment < until
    ]
    return max(rates, default=None)


def _sampled(values: list[int] | list[float], at_s: list[float], moments: list[float]) -> list[float | None]:
    """Return the values at the moments that come last before each of `moments`."""
    found: list[float | None] = []
    place = 0
    for moment in moments:
        while place + 1 < len(at_s) and at_s[place + 1] <= moment:
            place += 1
        found.append(values[place])
    return found


def _first(values: list[int] | list[float] | list[int | None], moments: list[float]) -> list[float | None]:
    padded: list[float | None] = [*values[: len(moments)]]
    return padded + [None] * (len(moments) - len(padded))
