"""The verdict on a run: its thresholds, and whether it could be made as planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from loadtest.report.figures import count
from loadtest.results import Results, Threshold
from loadtest.scenario.thresholds import judged

__all__ = ["status", "verdict"]

_OF_CHANGES = {"delivery", "staleness", "publishing"}
_STATUS = {"passed": 0, "failed": 1, "interrupted": 130}


def verdict(
    results: Results, thresholds: Mapping[str, str], broken: Sequence[str], *, published: bool, interrupted: bool
) -> Results:
    """Return `results` with their verdict, and the reasons of one that is not ``passed``.

    `broken` is what went wrong with the run itself; `published` is false where nobody could publish. A run that was
    interrupted is judged by its thresholds, too, but they say nothing of a whole one. One in which no stream was
    opened, or no change accepted, fails even without thresholds.
    """
    reasons = [reason if times == 1 else f"{reason} ({times} times)" for reason, times in Counter(broken).items()]
    reasons += [] if interrupted else _nothing(results)
    reasons += [f"could not {fault.what}: {fault.error}" for fault in results.faults if fault.error]
    found = judged(results, thresholds)
    for each in found:
        if each.passed:
            continue
        reasons.append(f"{each.figure} {each.condition}: {_why(each, published=published)}")
    decided = "interrupted" if interrupted else "failed" if reasons else "passed"
    if interrupted:
        reasons.insert(0, f"interrupted after {results.seconds:.0f} s")
    return msgspec.structs.replace(results, thresholds=found, verdict=decided, reasons=reasons)


def _nothing(results: Results) -> Iterator[str]:
    """Yield what makes a run one of nothing, whatever its thresholds say: no stream, no change."""
    streams, publishing = results.streams, results.publishing
    if streams.requests and not streams.opened:
        yield f"none of {count(streams.requests)} requests for a stream was answered with one{_mostly(results.errors)}"
    if publishing.sent and not publishing.accepted:
        yield f"none of {count(publishing.sent)} changes was accepted{_mostly(publishing.errors)}"


def _mostly(errors: Mapping[str, int]) -> str:
    return f", mostly for: {max(errors, key=errors.__getitem__)}" if errors else ""


def _why(threshold: Threshold, *, published: bool) -> str:
    """Return why a threshold did not hold."""
    if not published and not threshold.value and _OF_CHANGES & set(threshold.figure.split(".")):
        return "nothing was published, for want of --publish-url and --token"
    return "there is no such figure in this run" if threshold.value is None else f"it is {_exactly(threshold.value)}"


def _exactly(value: float) -> str:
    """Return a figure with enough digits to be told from the bound that it missed."""
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:,.6g}"  # noqa: PLR2004 - six digits have no fraction left


def status(results: Results) -> int:
    """Return the exit status of a verdict."""
    return _STATUS[results.verdict]
