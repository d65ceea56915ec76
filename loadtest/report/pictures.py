"""Pictures of runs for documents."""

from __future__ import annotations

from loadtest.report import figures
from loadtest.report.gist import broken, unmarked
from loadtest.report.svg import Curve, Panel, picture
from loadtest.results import Results

__all__ = ["open_streams", "two_runs"]


def open_streams(results: Results, *, title: str = "", behind: bool = True) -> str:
    """Return the picture of one run: streams open with its faults, and below how many clients were behind."""
    series = results.series
    panels = [Panel("streams open", [Curve("streams open", series.at_s, series.open)])]
    if behind and any(series.behind):
        panels.append(Panel("clients behind the newest version", [Curve("behind", series.at_s, series.behind)]))
    return picture(title or results.title or results.name, _about(results), panels, _faults(results))


def two_runs(a: Results, b: Results, names: tuple[str, str], *, title: str = "", behind: bool = True) -> str:
    """Return the picture of two runs over each other, with what came of each; the faults are those of the first."""
    runs = tuple(zip(names, (a, b), strict=True))
    panels = [Panel("streams open", [Curve(name, run.series.at_s, run.series.open) for name, run in runs])]
    if behind and any(any(run.series.behind) for _, run in runs):
        panels.append(
            Panel(
                "clients behind the newest version",
                [Curve(name, run.series.at_s, run.series.behind) for name, run in runs],
            )
        )
    outcomes = {name: outcome for name, run in runs if (outcome := _outcome(run))}
    return picture(title or a.title or a.name, _about(a), panels, _faults(a), outcomes)


def _about(results: Results) -> str:
    kinds = len({group.model for group in results.groups})
    clients = f"{figures.count(results.streams.clients)} clients{f' of {kinds} kinds' if kinds > 1 else ''}"
    dips = unmarked(results)
    faults = f"{len(results.faults)} fault{'' if len(results.faults) == 1 else 's'}"
    return f"{clients}, {faults}{f'; dips without a mark are {dips}' if dips else ''}"


def _outcome(results: Results) -> str:
    """Return what came of a run's streams, in a line."""
    back, origin = results.readmission, results.requests.origin
    parts = [f"{figures.count(broken(results))} streams broke"]
    if back.count:
        parts.append(f"half were back within {figures.s(back.p50_s)}, 99 % within {figures.s(back.p99_s)}")
    if origin is not None:
        parts.append(f"{figures.count(origin)} requests at the origin")
    return "; ".join(parts)


def _faults(results: Results) -> list[tuple[float, str]]:
    return [(fault.at_s, fault.what) for fault in results.faults]
