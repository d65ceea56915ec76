"""The verdict on a run: its thresholds, and whether it could be made as planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from loadtest.results import Results
from loadtest.scenario.thresholds import judged

__all__ = ["status", "verdict"]

_OF_CHANGES = ("delivery", "staleness", "publishing")
_STATUS = {"passed": 0, "failed": 1, "interrupted": 130}


def verdict(
    results: Results, thresholds: Mapping[str, str], broken: Sequence[str], *, published: bool, interrupted: bool
) -> Results:
    """Return `results` with their verdict, and the reasons of one that is not ``passed``.

    `broken` is what went wrong with the run itself; `published` is false where nobody could publish. A run that was
    interrupted is judged by its thresholds, too, but they say nothing of a whole one.
    """
    reasons = list(broken)
    reasons += [f"could not {fault.what}: {fault.error}" for fault in results.faults if fault.error]
    found = judged(results, thresholds)
    for each in found:
        if each.passed:
            continue
        what = "there is no such figure in this run" if each.value is None else f"it is {each.value:.6g}"
        if each.value is None and not published and _is_of_changes(each.figure):
            what = "nothing was published, for want of --publish-url and --token"
        reasons.append(f"{each.figure} {each.condition}: {what}")
    decided = "interrupted" if interrupted else "failed" if reasons else "passed"
    if interrupted:
        reasons.insert(0, f"interrupted after {results.seconds:.0f} s")
    return msgspec.structs.replace(results, thresholds=found, verdict=decided, reasons=reasons)


def _is_of_changes(figure: str) -> bool:
    return any(part in _OF_CHANGES for part in figure.split("."))


def status(results: Results) -> int:
    """Return the exit status of a verdict."""
    return _STATUS[results.verdict]
