"""What decides a run beside its thresholds."""

from __future__ import annotations

import pytest

from loadtest.results import Publishing, Results, Streams
from loadtest.verdict import status, verdict


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (
            Results(
                name="x",
                verdict="passed",
                streams=Streams(clients=5, requests=9),
                errors={"status 301": 2, "status 503": 7},
            ),
            "none of 9 requests for a stream was answered with one, mostly for: status 503",
        ),
        (
            Results(name="x", verdict="passed", publishing=Publishing(sent=3, failed=3, errors={"status 302": 3})),
            "none of 3 changes was accepted, mostly for: status 302",
        ),
    ],
    ids=["no_stream", "no_change"],
)
def test_a_run_of_nothing_fails_without_thresholds_and_says_why(run: Results, reason: str) -> None:
    judged = verdict(run, {}, [], published=True, interrupted=False)
    assert (judged.verdict, judged.reasons, status(judged)) == ("failed", [reason], 1)
    early = verdict(run, {}, [], published=True, interrupted=True)
    assert (early.verdict, early.reasons, status(early)) == ("interrupted", ["interrupted after 0 s"], 130)


def test_a_run_without_requests_or_changes_is_no_failure() -> None:
    assert verdict(Results(name="x", verdict="passed"), {}, [], published=False, interrupted=False).verdict == "passed"


def test_what_went_wrong_again_and_again_is_one_reason_with_its_number() -> None:
    broken = ["publisher ended", "nats ended", "publisher ended"]
    judged = verdict(Results(name="x", verdict="passed"), {}, broken, published=True, interrupted=False)
    assert (judged.verdict, judged.reasons) == ("failed", ["publisher ended (2 times)", "nats ended"])
