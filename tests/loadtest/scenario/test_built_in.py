"""The scenarios that come with the package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files

import msgspec
import pytest

from flagstream.settings import load
from loadtest.results import Delivery, GroupResults, Results, Streams
from loadtest.scenario.reading import names, read
from loadtest.scenario.schema import Scenario
from loadtest.scenario.thresholds import condition, judged
from stream_server.settings import StreamServerSettings

FORMS = [(name, short) for name in names() for short in (False, True)]
IDS = [f"{name}-{'short' if short else 'whole'}" for name, short in FORMS]


def text(name: str) -> str:
    return files("loadtest").joinpath("scenarios", f"{name}.toml").read_text(encoding="utf-8")


def most(scenario: Scenario) -> int:
    """Return the clients that there are at most."""
    return round(
        scenario.clients.count * max([1.0, *(each.times for each in scenario.timeline if each.do == "clients")])
    )


@pytest.mark.parametrize(("name", "short"), FORMS, ids=IDS)
def test_it_is_whole_and_nothing_may_be_lost(name: str, short: bool) -> None:
    scenario = read(name, short=short)
    assert len(scenario.about) > 100
    lost = {path for path, text in scenario.thresholds.items() if path.split(".")[-1] == "lost" and text == "== 0"}
    assert lost & {"lost", "groups.quick.lost"}
    assert {"out_of_order", "publishing.failed"} <= set(scenario.thresholds)
    assert any(path.endswith("delivery.p99_ms") for path in scenario.thresholds)


@pytest.mark.parametrize("name", sorted({*names()} - {"edge", "slow-readers"}))
@pytest.mark.parametrize("short", [False, True], ids=["whole", "short"])
def test_dropped_changes_fail_it_although_the_next_stream_makes_up_for_them(name: str, short: bool) -> None:
    scenario = read(name, short=short)
    (figure,) = (path for path in scenario.thresholds if path.endswith(".delivery.skipped"))
    group = GroupResults(name=figure.split(".")[1], model="", via="origin", delivery=Delivery(count=200, skipped=8))
    results = Results(name=name, title="", verdict="passed", groups=[group])
    told = msgspec.structs.replace(group, delivery=Delivery(count=240, skipped=2))
    whole = msgspec.structs.replace(results, groups=[told])
    assert [[each.passed for each in judged(of, {figure: scenario.thresholds[figure]})] for of in (results, whole)] == [
        [False],
        [True],
    ]


@pytest.mark.parametrize("way", ["direct", "edge"])
@pytest.mark.parametrize("short", [False, True], ids=["whole", "short"])
def test_changes_that_are_dropped_within_streams_fail_the_edge_on_either_way(way: str, short: bool) -> None:
    scenario = read("edge", short=short)
    figure = f"groups.{way}.delivery.skipped_in_stream"
    passed = []
    for delivery in (
        Delivery(count=900, skipped=100, skipped_in_stream=100),
        Delivery(count=900, skipped=100),  # between streams, in JavaScript's pauses
    ):
        group = GroupResults(name=way, model="", via="", delivery=delivery)
        results = Results(name="edge", title="", verdict="passed", groups=[group])
        passed += [each.passed for each in judged(results, {figure: scenario.thresholds[figure]})]
    assert passed == [False, True]


@pytest.mark.parametrize("short", [False, True], ids=["whole", "short"])
def test_slow_readers_fail_where_a_slow_one_was_told_as_much_as_a_quick_one(short: bool) -> None:
    scenario = read("slow-readers", short=short)
    shares = {mix.name: mix.share for mix in scenario.clients.mix}
    figure = "groups.slow.delivery.count"
    passed = []
    for told in (380, 240):
        deliveries = {"quick": round(400 * shares["quick"]), "slow": round(told * shares["slow"])}
        groups = [
            GroupResults(
                name=name, model="", via="", streams=Streams(clients=int(shares[name])), delivery=Delivery(count=count)
            )
            for name, count in deliveries.items()
        ]
        results = Results(name="slow-readers", title="", verdict="passed", groups=groups)
        passed += [each.passed for each in judged(results, {figure: scenario.thresholds[figure]})]
    assert passed == [False, True]
    # Or what slow readers miss between two streams would pass for what was dropped on one.
    assert scenario.local.settings["lifetime"] * 0.8 > scenario.seconds + scenario.settle


@pytest.mark.parametrize(("name", "short"), FORMS, ids=IDS)
def test_its_settings_are_some_that_the_stream_server_takes(name: str, short: bool) -> None:
    local = read(name, short=short).local
    given: Mapping[str, object] = {"workers": local.workers, "edge": local.edge != "none", **local.settings}
    load(StreamServerSettings, overrides=given, environ={})


@pytest.mark.parametrize("name", names())
def test_its_short_form_takes_ten_seconds_and_few_streams(name: str) -> None:
    whole, short = read(name), read(name, short=True)
    assert short.seconds == 10
    assert most(short) <= 1_500
    assert most(short) < most(whole)
    assert {mix.via for mix in short.clients.mix} == {mix.via for mix in whole.clients.mix}
    assert [entry.do for entry in short.timeline] == [entry.do for entry in whole.timeline]


@pytest.mark.parametrize("name", names())
def test_its_short_form_judges_counts_as_strictly_and_times_more_generously(name: str) -> None:
    whole, short = read(name).thresholds, read(name, short=True).thresholds
    for path, text_ in short.items():
        if condition(whole[path]).sign == "==" and condition(whole[path]).number == 0:
            assert text_ == whole[path]
        elif path.endswith(("_ms", "_s")) and not condition(whole[path]).times:
            assert condition(text_).number >= condition(whole[path]).number


@pytest.mark.parametrize("name", names())
def test_every_table_teaches_and_says_nothing_that_is_the_default(name: str) -> None:
    assert text(name).count("#") >= 3
    assert text(name).startswith("# ")
    # What the short form repeats of the whole one would look like a difference.
    document = tomllib.loads(text(name))
    short = document.pop("short")
    assert not list(same(document, short))


def same(below: Mapping[str, object], above: Mapping[str, object]) -> list[str]:
    """Return the keys whose value is in both."""
    found: list[str] = []
    for key, value in above.items():
        other = below.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found += [f"{key}.{each}" for each in same(other, value)]
        elif value == other:
            found.append(key)
    return found


def test_the_ones_of_the_issue_are_there_in_the_sizes_that_it_names() -> None:
    assert {"fanout", "storm", "deploy", "churn", "slow-readers", "edge", "burst", "soak"} == {*names()}
    storm, burst, soak = read("storm"), read("burst"), read("soak")
    assert storm.clients.count >= 5_000
    assert [(each.do, each.part) for each in storm.timeline] == [
        *(("kill", "worker"), ("kill", "worker"), ("kill", "workers"))
    ]
    assert [(each.times, each.over) for each in burst.timeline] == [(5, 10)]
    assert soak.seconds == 3_600
    assert {mix.via for mix in read("edge").clients.mix} == {"origin", "edge"}
    assert "flagsmith-python-5" not in {mix.model for name in names() for mix in read(name).clients.mix}


def test_lines_fit_the_width_that_the_rest_of_the_project_has() -> None:
    assert not [
        line for name in names() for line in text(name).splitlines() if len(line) > 120 or re.search(r"\s$", line)
    ]
