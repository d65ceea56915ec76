"""Thresholds: a figure of the results and what must hold of it; they decide the exit status of a run.

A condition is a comparison and a number, a figure, or a number times a figure: ``"<= 500"``, ``"== requests.sent"``,
``"< 1.5 * groups.direct.delivery.p99_ms"``. A figure that there is none of fails its threshold, on either side: what
was not measured is not passed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from loadtest.results import Results, Threshold
from loadtest.scenario.faults import Breach, shown
from loadtest.scenario.figures import figure, figure_fault
from loadtest.scenario.lines import Path
from loadtest.scenario.schema import Local, Scenario

__all__ = ["Condition", "condition", "condition_faults", "judged", "told_by_servers"]

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_NUMBER: Final = r"[+-]?(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
_CONDITION: Final = re.compile(
    rf"\s*(?P<sign>[<>=!]=|[<>])\s*(?:(?P<number>{_NUMBER})(?:\s*\*\s*(?P<times>[a-z].*))?|(?P<figure>[a-z].*))\s*"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison with `number`, times the figure at `times` where that is not empty."""

    sign: str
    number: float
    times: str = ""

    def holds(self, value: float | None, results: Results) -> bool:
        """Say whether `value` meets it; without a value, or without the figure to compare with, it does not."""
        bound: float | None = self.number
        if self.times:
            other = figure(results, self.times)
            bound = None if other is None else self.number * other
        return value is not None and bound is not None and _COMPARISONS[self.sign](value, bound)


def condition(text: str) -> Condition:
    """Read a condition; raises ValueError with what one looks like."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError('is no condition; write a comparison and a number, as "<= 500" or "< 1.5 * delivery.p50_ms"')
    times = match["times"] or match["figure"] or ""
    return Condition(match["sign"], float(match["number"] or 1), times.strip())


def judged(results: Results, thresholds: Mapping[str, str]) -> list[Threshold]:
    """Return what became of each threshold; raises ValueError for a condition that is none."""
    found = []
    for path, text in thresholds.items():
        value = figure(results, path)
        passed = condition(text).holds(value, results)
        found.append(Threshold(figure=path, condition=text, value=value, passed=passed))
    return found


def condition_faults(scenario: Scenario) -> Iterator[Breach]:
    """Yield the thresholds of a scenario whose figure no results of it can have, or whose condition is none."""
    groups = [mix.name for mix in scenario.clients.mix]
    for path, text in scenario.thresholds.items():
        at = ("thresholds", path)
        if fault := figure_fault(path, groups=groups, faults=len(scenario.timeline)):
            yield Breach(at, f"{path} {fault}", _given(path))
        try:
            times = condition(text).times
        except ValueError as error:
            yield Breach(at, f"{path}: {shown(text)} {error}")
            continue
        if times and (fault := figure_fault(times, groups=groups, faults=len(scenario.timeline))):
            yield Breach(at, f"{path} = {shown(text)}: {times} {fault}", _given(times))
        for figure_path in filter(None, (path, times)):
            if lacks := _lacks(figure_path, scenario.local):
                yield Breach(at, f"{figure_path} cannot be known: {lacks}", (("local",),))


def told_by_servers(scenario: Scenario) -> Iterator[str]:
    """Yield the figures that thresholds of a scenario need and that only a stack of our own can tell, each once."""
    for path in _needed(scenario):
        first, _, rest = path.partition(".")
        name = rest.partition(".")[0]
        if (
            first == "server"
            or (first == "requests" and name not in _COUNTED_BY_CLIENTS)
            or (first == "drift" and name in {"cpu", "rss", "origin_streams"})
        ):
            yield path


def _needed(scenario: Scenario) -> dict[str, None]:
    """Return all figures of the thresholds, on either side, in order."""
    found: dict[str, None] = {}
    for path, text in scenario.thresholds.items():
        found[path] = None
        if times := condition(text).times:
            found[times] = None
    return found


_COUNTED_BY_CLIENTS: Final = {"sent", "sent_to_edge"}
_OF_SERVERS: Final = re.compile(r"server\.(\w+)\.|drift\.(?:cpu|rss)\.(\w+)$|requests\.(edge\w*)$")


def _lacks(path: str, local: Local) -> str:
    """Say why the stack that a scenario describes cannot tell a figure; empty if it can."""
    match = _OF_SERVERS.match(path)
    part = next(filter(None, match.groups()), "") if match else ""
    if part == "redis" and not local.redis:
        return "the stack has no Redis: write redis = true under [local]"
    if (part in {"varnish", "waiting_room"} or part.startswith("edge")) and local.edge == "none":
        return 'the stack has no edge: write edge = "varnish" under [local]'
    return ""


def _given(figure_path: str) -> tuple[Path, ...]:
    """Return what says which figures of this kind there are."""
    first, *_ = figure_path.split(".")
    return {"groups": (("clients", "mix"),), "faults": (("timeline",),)}.get(first, ())
