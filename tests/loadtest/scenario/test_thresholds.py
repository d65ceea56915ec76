"""Thresholds: conditions as they are written, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.results import Delivery, GroupResults, Results, Threshold
from loadtest.scenario.reading import ScenarioError, read
from loadtest.scenario.thresholds import Condition, condition, judged, told_by_servers

SMALL = """\
title = "t"
seconds = 5
[clients]
count = 1
open_over = 1
"""

RESULTS = Results(
    name="x",
    verdict="passed",
    lost=0,
    duplicates=3,
    delivery=Delivery(count=100, p99_ms=12.0),
    groups=[
        GroupResults(name="direct", model="flagstream", via="origin", delivery=Delivery(p50_ms=4.0)),
        GroupResults(name="edge", model="flagstream", via="edge", delivery=Delivery(p50_ms=6.0)),
    ],
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<= 500", Condition("<=", 500)),
        (">=5_000", Condition(">=", 5000)),
        ("  == 0 ", Condition("==", 0)),
        ("!= -1", Condition("!=", -1)),
        ("< 1e3", Condition("<", 1000)),
        ("> .5", Condition(">", 0.5)),
        ("== requests.sent", Condition("==", 1, "requests.sent")),
        ("< 1.5 * groups.direct.delivery.p99_ms ", Condition("<", 1.5, "groups.direct.delivery.p99_ms")),
        ("<2*errors.status 503", Condition("<", 2, "errors.status 503")),
    ],
)
def test_a_condition_is_a_comparison_and_a_number_or_a_figure(text: str, expected: Condition) -> None:
    assert condition(text) == expected


@pytest.mark.parametrize(
    "text", ["", "500", "= 5", "=< 5", "<= 500 ms", "<=", "< 5 5", "< * 5", "< 5 *", "< 5 * 5", "<= 5%", "~ 3"]
)
def test_what_is_no_condition_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match='write a comparison and a number, as "<= 500"'):
        condition(text)


@pytest.mark.parametrize(
    ("path", "text", "value", "passed"),
    [
        ("lost", "== 0", 0, True),
        ("lost", "!= 0", 0, False),
        ("duplicates", "== 0", 3, False),
        ("delivery.p99_ms", "<= 12", 12.0, True),
        ("delivery.p99_ms", "< 12", 12.0, False),
        ("delivery.p99_ms", ">= 12", 12.0, True),
        ("delivery.p99_ms", "> 12", 12.0, False),
        ("groups.edge.delivery.p50_ms", "<= 1.5 * groups.direct.delivery.p50_ms", 6.0, True),
        ("groups.edge.delivery.p50_ms", "< 1.5 * groups.direct.delivery.p50_ms", 6.0, False),
        ("groups.edge.delivery.p50_ms", "> groups.direct.delivery.p50_ms", 6.0, True),
    ],
)
def test_a_threshold_has_passed_if_its_condition_holds(path: str, text: str, value: float, passed: bool) -> None:
    assert judged(RESULTS, {path: text}) == [Threshold(figure=path, condition=text, value=value, passed=passed)]


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("delivery.p50_ms", "<= 500", None),
        ("delivery.p50_ms", "!= 500", None),
        ("groups.gone.lost", "== 0", None),
        ("delivery.p99_ms", "!= requests.origin", 12.0),
        ("delivery.p99_ms", ">= 0 * requests.origin", 12.0),
    ],
)
def test_what_was_not_measured_fails_on_either_side(path: str, text: str, value: float | None) -> None:
    assert judged(RESULTS, {path: text}) == [Threshold(figure=path, condition=text, value=value, passed=False)]


def test_thresholds_are_judged_in_their_order() -> None:
    thresholds = {"lost": "== 0", "delivery.count": "> 1", "duplicates": "== 0"}
    assert [each.figure for each in judged(RESULTS, thresholds)] == list(thresholds)


def test_only_what_servers_count_takes_a_stack_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        SMALL
        + """\
[local]
edge = "varnish"
[thresholds]
requests.sent_to_edge = "<= requests.sent"
requests.edge_sent_on = "<= 10"
delivery.count = ">= drift.open"
lost = "<= server.varnish.cpu_s"
"""
    )
    assert list(told_by_servers(read(path))) == ["requests.edge_sent_on", "server.varnish.cpu_s"]


def test_thresholds_of_a_scenario_that_cannot_be_judged_are_faults_at_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        SMALL
        + """\
[thresholds]
delivery.p99_mss = "<= 500"
"delivery.p99_ms" = "<= 500 ms"
groups.flagstream.lost = "<= 2 * groups.direct.lost"
faults.1.lost = "== 0"
server.redis.rss_end = "<= 1e9"
requests.sent = ">= 2 * requests.edge"
requests.edge_sent_on = "<= 10"
"""
    )
    with pytest.raises(ScenarioError) as caught:
        read(path)
    said = [fault.removeprefix(f"{path}:") for fault in caught.value.faults]
    first, second, third, fourth, fifth, sixth, seventh = said
    assert first.startswith("7: delivery.p99_mss is no figure: p99_mss is not among count, ")
    assert first.endswith("; did you mean p99_ms?")
    assert second == (
        '8: delivery.p99_ms: "<= 500 ms" is no condition; write a comparison and a number, as "<= 500" or '
        '"< 1.5 * delivery.p50_ms"'
    )
    assert third == (
        '9: groups.flagstream.lost = "<= 2 * groups.direct.lost": groups.direct.lost names no group of this scenario: '
        "there are flagstream"
    )
    assert fifth == "11: server.redis.rss_end cannot be known: the stack has no Redis: write redis = true under [local]"
    assert sixth.startswith("12: requests.edge cannot be known: the stack has no edge")
    assert seventh.startswith("13: requests.edge_sent_on cannot be known: the stack has no edge")
    assert fourth == "10: faults.1.lost names no entry of the timeline, which are numbered from 1: there is none"
