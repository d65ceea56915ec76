"""Two runs held against each other."""

from __future__ import annotations

import io
import re

import msgspec
import pytest
from rich.console import Console

from loadtest.report.comparing import FIGURES, Comparison, compared
from loadtest.report.comparing_page import comparison_page, on_grid
from loadtest.report.comparing_text import comparison_text
from loadtest.results import Delivery, Generator, Process, Results, Series, Streams
from tests.loadtest.report.test_document import Elements
from tests.loadtest.report.test_page import HOSTILE, plots


def text(comparison: Comparison, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(comparison_text(comparison))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def result(**fields: object) -> Results:
    return Results(**{"name": "a", "verdict": "passed", **fields})  # type: ignore[arg-type]


def change(comparison: Comparison, path: str) -> tuple[float | None, str | None, str]:
    [found] = [each for each in comparison.changes if each.path == path]
    return found.percent, found.winner, found.told


def test_every_figure_that_is_compared_is_one_of_the_results() -> None:
    comparison = compared(result(), result())
    with_values = {each.path for each in comparison.changes}
    assert with_values < set(FIGURES)
    assert {"lost", "duplicates", "out_of_order", "streams.opened", "staleness.behind_peak"} <= with_values
    for path in FIGURES:
        value: object = result()
        for name in path.split("."):
            value = getattr(value, name)
        assert value is None or isinstance(value, int | float)


@pytest.mark.parametrize(
    ("before", "after", "percent", "winner", "told"),
    [
        pytest.param(100.0, 80.0, -20.0, "b", "-20.0 %", id="faster"),
        pytest.param(100.0, 125.0, 25.0, "a", "+25.0 %", id="slower"),
        pytest.param(100.0, 100.0, 0.0, None, "=", id="the same"),
        pytest.param(100.0, 101.0, 1.0, None, "+1.0 %", id="less than histograms can tell"),
        pytest.param(None, 100.0, None, None, "–", id="unknown before"),
        pytest.param(100.0, None, None, None, "–", id="unknown after"),
        pytest.param(0.0, 100.0, None, "a", "–", id="from nothing"),
    ],
)
def test_a_latency_is_better_where_it_is_less(
    before: float | None, after: float | None, percent: float | None, winner: str | None, told: str
) -> None:
    comparison = compared(result(delivery=Delivery(p99_ms=before)), result(delivery=Delivery(p99_ms=after)))
    found, better, words = change(comparison, "delivery.p99_ms")
    assert found == (None if percent is None else pytest.approx(percent))
    assert (better, words) == (winner, told)


def test_more_streams_are_better_and_more_deliveries_neither() -> None:
    comparison = compared(
        result(streams=Streams(peak=100), delivery=Delivery(count=5)),
        result(streams=Streams(peak=150), delivery=Delivery(count=9)),
    )
    assert change(comparison, "streams.peak")[1] == "b"
    assert change(comparison, "delivery.count")[1] is None


def test_what_differs_in_how_they_were_made_is_told_first(run: Results, faster: Results) -> None:
    other = msgspec.structs.replace(
        faster, provenance={**faster.provenance, "python": "3.13.1", "moment": "later"}, verdict="interrupted"
    )
    comparison = compared(run, other, ("direct", "edge"))
    assert [(each.of, each.name, each.a, each.b) for each in comparison.differences] == [
        ("run", "verdict", "passed", "interrupted"),
        ("scenario", "local.edge", "none", "varnish"),
        ("provenance", "python", "3.11.7", "3.13.1"),
    ]
    told = text(comparison)
    assert told.index("not made alike") < told.index("local.edge") < told.index("Delivery p99")


def test_runs_that_were_made_alike_say_so(run: Results) -> None:
    comparison = compared(run, msgspec.structs.replace(run, provenance={**run.provenance, "moment": "later"}))
    assert comparison.differences == ()
    assert "Both were made alike" in text(comparison)
    assert b"Both were made alike" in comparison_page(comparison)


def test_whole_numbers_are_the_same_however_they_are_written() -> None:
    assert not compared(result(scenario={"seconds": 60}), result(scenario={"seconds": 60.0})).differences


def test_truths_are_written_as_in_toml_and_none_is_left_off_but_the_usual_ones() -> None:
    comparison = compared(
        result(scenario={"redis": True, "mix": []}),
        result(scenario={"redis": False, "mix": [{"name": "a", "loads": False, "fetches": True}]}),
    )
    assert [(each.name, each.a, each.b) for each in comparison.differences] == [
        ("redis", "true", "false"),
        ("mix[a]", None, "fetches true"),
    ]


def test_a_figure_and_its_change_stay_in_one_line_of_a_narrow_terminal(run: Results, faster: Results) -> None:
    told = text(compared(run, faster, ("a run of a name", "another one")), 80)
    assert max(map(len, told.splitlines())) <= 80
    assert not re.search(r"^ *%|[+-][\d.]+ *$", told, re.MULTILINE)


def test_an_entry_of_a_list_that_one_run_lacks_is_one_difference() -> None:
    kill = {"at": 2, "do": "kill", "part": "worker", "lasts": 0, "command": ""}
    differences = compared(
        result(scenario={"timeline": [], "keys": []}), result(scenario={"timeline": [kill], "keys": ""})
    ).differences
    assert [(each.name, each.a, each.b) for each in differences] == [
        ("timeline[1]", None, "at 2, do kill, part worker"),
    ]
    mix = [{"name": "a", "share": 1}, {"name": "b", "share": 2}]
    assert not compared(result(scenario={"mix": mix}), result(scenario={"mix": mix[::-1]})).differences
    [late] = compared(
        result(scenario={"timeline": [kill]}), result(scenario={"timeline": [kill | {"at": 3}]})
    ).differences
    assert (late.name, late.a, late.b) == ("timeline[1].at", "2", "3")


def test_cores_that_only_one_run_shared_are_a_difference() -> None:
    shared = result(generator=Generator(shared_cores=True))
    assert compared(shared, shared).differences == ()
    [only] = compared(result(), shared).differences
    assert (only.a, only.b) == ("no", "yes")


def test_long_names_stand_above_and_are_called_a_and_b(run: Results) -> None:
    told = text(compared(run, run, ("monday/before/storm.json", "tuesday/after/storm.json")))
    assert "B  tuesday/after/storm.json" in told
    assert "…" not in told


def test_an_edges_few_streams_at_the_origin_are_seen_beside_many(run: Results) -> None:
    few = [None if streams is None else streams // 500 for streams in run.series.origin_streams]
    edge = msgspec.structs.replace(run, series=msgspec.structs.replace(run.series, origin_streams=few))
    assert plots(comparison_page(compared(run, edge)))["curve-origin-streams"]["log"] is True
    assert plots(comparison_page(compared(run, run)))["curve-origin-streams"]["log"] is False


def test_two_runs_that_the_generator_limited_are_not_alike() -> None:
    limited = result(generator=Generator(was_the_limit=True))
    assert [each.name for each in compared(limited, limited).differences] == ["the generator was the limit"]


def test_groups_and_programs_that_only_one_run_has_are_there_too(run: Results) -> None:
    less = msgspec.structs.replace(run, groups=run.groups[1:], server=[Process(name="varnish", cpu_s=3.0)])
    comparison = compared(run, less)
    assert set(comparison.groups) == {group.name for group in run.groups}
    gone = comparison.groups[run.groups[0].name]
    assert all(each.b is None and each.winner is None for each in gone)
    names = {each.path: (each.a, each.b) for each in comparison.servers}
    assert names["server.varnish.cpu_s"] == (None, 3.0)
    assert names["server.nats.cpu_s"] == (1.1, None)
    assert "varnish: CPU" in text(comparison)


def test_a_page_lays_the_curves_over_each_other(run: Results, faster: Results) -> None:
    page = comparison_page(compared(run, faster, ("direct", "edge")))
    drawn = plots(page)
    assert [each["name"] for each in drawn["curve-open"]["lines"]] == ["direct", "edge"]
    assert [mark["name"] for mark in drawn["curve-open"]["marks"]] == ["kill worker", "kill workers"]
    assert {"percentiles", "share-readmission", "share-staleness"} <= set(drawn)
    assert len(page) < 400_000


def test_runs_with_other_faults_have_both_kinds_of_marks(run: Results, faster: Results) -> None:
    fewer = msgspec.structs.replace(faster, faults=faster.faults[1:])
    marked = plots(comparison_page(compared(run, fewer)))["curve-open"]["marks"]
    assert [(mark["name"], mark["hue"]) for mark in marked] == [
        ("A: kill worker", 0),
        ("A: kill workers", 0),
        ("B: kill workers", 1),
    ]


def test_a_curve_is_held_between_its_moments_and_ends_with_its_run() -> None:
    series = Series(at_s=[0.0, 1.0, 2.0], open=[5, 6, 7])
    assert on_grid([0.0, 0.5, 1.0, 1.9, 2.5, 3.5], series, "open") == [5, 5, 6, 6, 7, None]
    assert on_grid([0.0, 0.5], series, "behind") == [None, None]


def test_runs_that_measured_nothing_can_be_compared() -> None:
    comparison = compared(result(), result())
    assert plots(comparison_page(comparison)) == {}
    assert "Lost" in text(comparison)


def test_nothing_in_either_run_is_taken_for_markup_or_a_command(run: Results) -> None:
    hostile = msgspec.structs.replace(
        run,
        name=HOSTILE,
        title=HOSTILE,
        groups=[msgspec.structs.replace(run.groups[0], name=HOSTILE)],
        server=[Process(name=HOSTILE)],
        series=msgspec.structs.replace(run.series, cpu={HOSTILE: [0.5] * len(run.series.at_s)}),
        scenario={HOSTILE: HOSTILE},
        provenance={"python\x1b[31m": "[red]\x1b[31m"},
    )
    comparison = compared(run, hostile, (HOSTILE, "b\x1b[2J"))
    tags = [tag for tag, _ in Elements(comparison_page(comparison)).tags]
    assert tags.count("script") == 2
    assert "img" not in tags
    told = text(comparison)
    assert "\x1b" not in told
    assert "[red]" in told
