"""A plan held to a real run: the scenario of a load test's results is simulated, and the two lie side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtest.plan.likeness import plan_of, share_had
from loadtest.plan.outcome import Outcome
from loadtest.plan.planning import played
from loadtest.plan.rows import Rows
from loadtest.plan.sampled import busiest, counted, padded, sampled
from loadtest.plan.settings import Plan
from loadtest.report.figures import change, count, plain, rate, s
from loadtest.report.plots import Unit
from loadtest.results import Results

__all__ = ["Comparison", "Curve", "compared"]

SCARCE: Final = 0.5
"""Share of a core below which a worker's times are mostly those of its neighbours."""


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
    notes: list[str]
    """What of the difference is the machine's, in sentences."""

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


def compared(results: Results) -> Comparison:
    """Simulate what a run was, and return both."""
    plan = plan_of(results)
    outcome = played(plan)
    predicted, measured = outcome.series, results.series
    figures = [
        Figure("Share of a core that a worker got (given)", "plain", plan.origin.share, share_had(results)),
        Figure("Streams, most at once", "count", max(predicted.open), results.streams.peak),
        Figure(
            f"Streams opened in {s(plan.run.seconds)}",
            "count",
            counted(predicted.at_s, predicted.opens_per_s, plan.run.seconds),
            counted(measured.at_s, measured.opens_per_s, plan.run.seconds),
        ),
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
            Figure(
                f"{name}: opens in the busiest second",
                "per_s",
                busiest(predicted.at_s, predicted.opens_per_s, fault.at_s, _next(results, fault.at_s)),
                busiest(measured.at_s, measured.opens_per_s, fault.at_s, _next(results, fault.at_s)),
            ),
        ]
    at = [moment for moment in measured.at_s if moment <= predicted.at_s[-1]]
    origin = Curve(
        "origin",
        "Streams at the origin",
        "count",
        sampled(predicted.origin_streams, predicted.at_s, at),
        padded(measured.origin_streams, at),
    )
    return Comparison(
        outcome=outcome,
        figures=figures,
        at_s=at,
        curves=[
            Curve(
                "open", "Streams open", "count", sampled(predicted.open, predicted.at_s, at), padded(measured.open, at)
            ),
            Curve(
                "opens",
                "Opened a second",
                "per_s",
                sampled(predicted.opens_per_s, predicted.at_s, at),
                padded(measured.opens_per_s, at),
            ),
            *([origin] if plan.edge.on else []),  # else it is that of the clients once more
        ],
        faults=[(fault.at_s, fault.what) for fault in results.faults],
        notes=notes(results, plan),
    )


def notes(results: Results, plan: Plan) -> list[str]:
    """Return what of the difference is not the plan's but the machine's, by what the run says of itself."""
    said = [f"The run says: {warning}." for warning in results.warnings]
    if results.generator.was_the_limit:
        said.append(
            "So its times and its peaks are those of a machine that was full, and say nothing for or against the plan: "
            "clients came, were cut and were counted late. Who is cut and how many streams are opened can be compared."
        )
    workers, environments = plan.origin.processes, plan.environments.count
    if plan.edge.on and workers > 1 and any(fault.what == "kill worker" for fault in results.faults):
        spread = ((workers - 1) / environments) ** 0.5 / workers
        said.append(
            "Behind an edge all clients of an environment are at one worker, and which one is chance: one of "
            f"{workers} has those of {_percent(1 / workers)} of the {environments} environments, give or take "
            f"{_percent(spread)}."
        )
    if plan.origin.share < SCARCE:
        said.append(
            f"A worker got {_percent(plan.origin.share)} of a core while it wanted all of one. The plan was given that "
            "for all of the run; what it was at each moment nobody knows."
        )
    return said


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _next(results: Results, at: float) -> float:
    return min([fault.at_s for fault in results.faults if fault.at_s > at], default=float("inf"))
