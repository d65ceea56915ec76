"""Figures: the paths that lead to numbers in results, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from loadtest.results import (
    Delivery,
    Fault,
    GroupResults,
    Process,
    Readmission,
    Requests,
    Results,
    Series,
    Streams,
)
from loadtest.scenario.figures import figure, figure_fault

RESULTS = Results(
    name="x",
    verdict="passed",
    seconds=8.0,
    streams=Streams(opened=7, lost={"cut": 3, "status": 1}),
    delivery=Delivery(count=2, p99_ms=12.5),
    requests=Requests(sent=10),
    errors={"status 503": 4},
    faults=[Fault(number=2, at_s=1.0, what="kill worker", readmission=Readmission(p99_s=1.5))],
    groups=[GroupResults(name="direct", model="flagstream", via="origin", delivery=Delivery(p99_ms=9.0))],
    server=[Process(name="stream_server", rss_peak=1000)],
    series=Series(
        at_s=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        open=[0, 5, 10, 10, 12, 20, 20, 20, 30],
        delivery_p99_ms=[None, None, None, None, 4.0, 4.0, 8.0, None, None],
        rss={"stream_server": [1, 9, 10, 10, 10, 10, 11, 11, 11], "nats": [1]},
    ),
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seconds", 8.0),
        ("streams.opened", 7),
        ("streams.lost", 4),
        ("streams.lost.cut", 3),
        ("streams.lost.refused", 0),
        ("errors", 4),
        ("errors.status 503", 4),
        ("delivery.p99_ms", 12.5),
        ("delivery.p50_ms", None),
        ("requests.origin", None),
        ("generator.was_the_limit", 0),
        ("faults.2.readmission.p99_s", 1.5),
        ("faults.1.readmission.p99_s", None),
        ("groups.direct.delivery.p99_ms", 9.0),
        ("groups.edge.delivery.p99_ms", None),
        ("server.stream_server.rss_peak", 1000),
        ("drift.open", 2.0),
        ("drift.rss.stream_server", 1.1),
        ("drift.rss.nats", None),
        ("drift.rss.redis", None),
        ("drift.delivery_p99_ms", None),
        ("delivery", None),
        ("name", None),
        ("seconds.more", None),
        ("nothing", None),
        ("drift.nothing", None),
    ],
)
def test_a_figure_is_the_number_at_its_path_or_none(path: str, value: float | None) -> None:
    found = figure(RESULTS, path)
    assert found == (value if value is None else pytest.approx(value))
    assert not isinstance(found, bool)


def numbers(value: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the path of each number in results, by the names of parts."""
    match value:
        case bool() | int() | float():
            yield ".".join(above)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from numbers(getattr(value, name), (*above, name))
        case dict():
            for name, each in value.items():
                yield from numbers(each, (*above, name))
        case list() if value and isinstance(value[0], msgspec.Struct):
            for each in value:
                yield from numbers(each, (*above, str(getattr(each, "number", getattr(each, "name", "")))))


def test_every_number_of_results_is_a_figure_and_nothing_else() -> None:
    found = [path for path in numbers(RESULTS) if path.split(".")[0] != "format" and not path.endswith(".number")]
    assert len(found) > 80
    assert {path: fault for path in found if (fault := figure_fault(path, groups=["direct"], faults=2))} == {}


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("delivry.p99_ms", "did you mean delivery?"),
        ("delivery.p99", "did you mean p99_ms?"),
        ("delivery", "is no figure but a table of them: count, p50_ms"),
        ("delivery.", "is no figure: what is below it is not among count"),
        ("", "is no figure: what is below it is not among seconds"),
        ("delivery.histogram", "is no figure: histogram is not among"),
        ("name", "is no figure: name is not among"),
        ("series.open", "is no figure: series is not among"),
        ("lost.cut", "is no figure: lost is a number, nothing is below it"),
        ("groups", "names no group of this scenario: there are direct, edge"),
        ("groups.dirct.lost", "names no group of this scenario: there are direct, edge; did you mean direct?"),
        ("groups.direct", "is no figure but a table of them"),
        ("groups.direct.model", "is no figure: model is not among"),
        ("server.stream.rss_peak", "names no program of a stack: there are stream_server,"),
        ("faults.3.lost", "names no entry of the timeline, which are numbered from 1: there are 1 to 2"),
        ("faults.0.lost", "names no entry of the timeline"),
        ("faults.1.number", "is no figure: number is not among"),
        ("drift", "is no figure: what is below it is not among the curves open,"),
        ("drift.opne", "did you mean open?"),
        ("drift.rss", "is no figure: say of which, as drift.rss.stream_server"),
        ("drift.open.more", "is no figure: open is a curve, nothing is below it"),
        ("drift.at_s", "is no figure: at_s is not among the curves"),
    ],
)
def test_what_is_no_figure_is_told_with_what_there_is(path: str, fault: str) -> None:
    assert fault in figure_fault(path, groups=["direct", "edge"], faults=2)


def test_without_a_timeline_there_are_no_faults_to_name() -> None:
    assert figure_fault("faults.1.lost", groups=[], faults=0).endswith(": there is none")
