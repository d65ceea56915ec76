"""The report of a run."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

import msgspec
import pytest

from loadtest.report import figures
from loadtest.report.curves import curves, marks
from loadtest.report.page import facts, written
from loadtest.report.thinning import MOST, thinned
from loadtest.results import Delivery, Fault, Generator, GroupResults, Readmission, Results, Seconds, Series, Staleness
from tests.loadtest.report.test_document import Elements

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{ 7 * 7 }}\u2028\ud800"


def plots(page: bytes) -> dict[str, Any]:
    sent = re.search(rb'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert sent is not None
    return {plot["id"]: plot for plot in json.loads(sent[1])["plots"]}


def test_a_page_of_1200_points_stays_small_and_has_every_plot(run: Results) -> None:
    assert len(run.series.at_s) > 1200
    page = written(run)
    assert len(page) < 400_000
    assert set(plots(page)) == {
        *("open", "rates", "losses", "without", "behind", "delivery", "events", "cpu", "rss"),
        *("percentiles", "readmission", "staleness"),
    }
    assert [each["name"] for each in plots(page)["open"]["lines"]] == ["all", *run.series.open_by_group]
    assert [(each["name"], each["number"]) for each in plots(page)["open"]["marks"]] == [
        ("kill worker", 1),
        ("kill workers", 2),
    ]


def test_a_page_begins_with_the_verdict_and_what_happened_then_figures_then_curves(run: Results) -> None:
    page = written(run).decode()
    places = [page.index(f'id="{name}"') for name in ("verdict", "curves", "distributions", "faults", "thresholds")]
    assert places == sorted(places)
    told = page.index("the newest version; no event came twice or out of order.")
    assert places[0] < told < page.index('class="tiles"') < places[1]
    assert "✓ Passed" in page
    assert 'All 3 <a href="#thresholds">thresholds</a> hold.' in page


def test_streams_at_the_origin_are_drawn_where_an_edge_stands_before_it(run: Results) -> None:
    through = [msgspec.structs.replace(group, via="edge") for group in run.groups]
    lines = plots(written(msgspec.structs.replace(run, groups=through)))["origin"]["lines"]
    assert [line["name"] for line in lines] == ["clients' streams", "streams at the origin"]


def test_a_legend_says_of_a_whole_line_what_the_tables_say(run: Results) -> None:
    drawn = plots(written(run))
    assert [line["told"] for line in drawn["readmission"]["lines"]] == [
        f"p50 {figures.s(fault.readmission.p50_s)}" for fault in run.faults
    ]
    assert [line["told"] for line in drawn["percentiles"]["lines"]] == [
        f"p99 {figures.ms(part.p99_ms)}"
        for part in [run.delivery, *(group.delivery for group in run.groups)]
        if part.count
    ]
    assert drawn["staleness"]["lines"][0]["told"] == f"p50 {figures.s(run.staleness.p50_s)}"


def test_no_figure_is_parted_from_its_unit(run: Results) -> None:
    text = re.sub(r"<script.*?</script>|<pre>.*?</pre>", "", written(run).decode(), flags=re.DOTALL)
    assert "\N{NO-BREAK SPACE}ms" in text
    assert not re.search(r">[^<>]*, most [\d.]+ m?s", text)


def test_what_never_happened_has_neither_tile_nor_curve_nor_row(run: Results) -> None:
    quiet = msgspec.structs.replace(
        run,
        faults=[],
        streams=msgspec.structs.replace(run.streams, gave_up=0, ended=12, lost={"cut": 0}),
        readmission=Readmission(),
        gap=Seconds(count=12, p50_s=1.5, p99_s=3.0, max_s=3.1),
        series=msgspec.structs.replace(run.series, losses_per_s=[0.0] * len(run.series.at_s)),
        errors={"refused": 0},
    )
    page = written(quiet).decode()
    assert "Re-admission" not in page
    assert "Back after a clean end" in page
    assert "losses" not in plots(page.encode())
    for nothing in ("Gave up</dt>", "Came to the edge, fetches too", "refused", "most –"):
        assert nothing not in page
    assert '<p class="hint">None.</p>' in page


def test_tiles_of_a_run_without_deliveries_speak_of_none(run: Results) -> None:
    silent = msgspec.structs.replace(run, delivery=Delivery(), staleness=Staleness())
    page = written(silent).decode()
    assert "most –" not in page
    assert "p99 for –" not in page


def test_a_failed_run_says_by_what(run: Results) -> None:
    broken = [msgspec.structs.replace(run.thresholds[0], value=None, passed=False), *run.thresholds[1:]]
    failed = msgspec.structs.replace(run, verdict="failed", reasons=["lost is not there"], thresholds=broken)
    page = written(failed).decode()
    assert "✗ Failed" in page
    assert '1 of 3 <a href="#thresholds">thresholds</a> failed.' in page
    assert "<li>lost is not there</li>" in page


def test_an_interrupted_run_says_that_it_was(run: Results) -> None:
    page = written(msgspec.structs.replace(run, verdict="interrupted", thresholds=[])).decode()
    assert "what was measured until then.</span> " in page
    assert "sets no thresholds" in page


def test_a_generator_that_was_the_limit_is_the_loudest_warning(run: Results) -> None:
    assert "The generator was the limit" not in written(run).decode()
    limited = msgspec.structs.replace(
        run,
        generator=Generator(was_the_limit=True, shared_cores=True),
        warnings=["the generator was the limit: a timer was late", "all cores of this machine were in use", "a third"],
    )
    page = written(limited).decode()
    order = (
        "The generator was the limit",
        "<li>a timer was late</li>",
        "⚠ Warning",
        "<li>a third</li>",
        'class="note"',
    )
    places = [page.index(each) for each in (*order, "All cores of this machine were in use.", 'class="tiles"')]
    assert places == sorted(places)


def test_cores_that_were_shared_are_a_note_and_no_warning(run: Results) -> None:
    shared = msgspec.structs.replace(
        run, generator=Generator(shared_cores=True), warnings=["all cores of this machine were in use"]
    )
    page = written(shared).decode()
    assert "⚠" not in page
    assert "All cores of this machine were in use." in page


def test_nothing_in_the_results_is_taken_for_markup(run: Results) -> None:
    hostile = msgspec.structs.replace(
        run,
        name=HOSTILE,
        title=HOSTILE,
        reasons=[HOSTILE],
        warnings=[HOSTILE],
        thresholds=[msgspec.structs.replace(each, figure=HOSTILE, condition=HOSTILE) for each in run.thresholds],
        errors={HOSTILE: 3},
        faults=[msgspec.structs.replace(run.faults[0], what=HOSTILE, error=HOSTILE)],
        groups=[msgspec.structs.replace(group, name=HOSTILE, model=HOSTILE, via=HOSTILE) for group in run.groups],
        series=msgspec.structs.replace(run.series, open_by_group={HOSTILE: run.series.open, "b": run.series.open}),
        scenario={HOSTILE: {"title": HOSTILE, "list": [HOSTILE]}},
        provenance={"command": HOSTILE, HOSTILE: [HOSTILE]},
    )
    page = written(hostile)
    tags = [tag for tag, _ in Elements(page).tags]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert b"49" not in page.split(b"<h1>")[1].split(b"</h1>")[0]
    assert escape("<script>alert(1)</script>").encode() in page
    assert plots(page)["open"]["lines"][1]["name"].startswith("</script><script>")


def test_a_run_that_measured_nothing_has_a_page_too() -> None:
    page = written(Results(name="nothing", verdict="failed", reasons=["the target refused every stream"]))
    assert plots(page) == {}
    assert b"the target refused every stream" in page
    for empty in (b"<figure", b'class="tile', b'id="load"', b"sets no thresholds"):
        assert empty not in page


def test_a_run_that_was_interrupted_at_once_has_no_plots_of_single_points() -> None:
    single = Results(
        name="short",
        verdict="interrupted",
        series=Series(at_s=[0.25], open=[3]),
        groups=[GroupResults(name="a", model="flagstream", via="origin")],
        faults=[Fault(number=1, at_s=0.1, what="kill worker", error="there is none")],
    )
    page = written(single)
    assert plots(page) == {}
    assert b"there is none" in page


@pytest.mark.parametrize(
    ("fault", "until"),
    [
        pytest.param(Fault(number=1, at_s=10, what="kill", all_back_s=20), 37, id="until all were back, and a little"),
        pytest.param(Fault(number=1, at_s=10, what="kill", all_back_s=80), 60, id="but not into the next one"),
        pytest.param(Fault(number=1, at_s=10, what="kill"), 30, id="a while where nobody knows"),
        pytest.param(
            Fault(number=1, at_s=10, what="kill", readmission=Readmission(max_s=10)),
            23.5,
            id="until the last came back",
        ),
    ],
)
def test_a_zoom_shows_a_fault_until_it_is_over(fault: Fault, until: float) -> None:
    after = Fault(number=2, at_s=60, what="kill again")
    first, second = marks(Results(name="a", verdict="passed", faults=[fault, after], seconds=100))
    assert first.until == pytest.approx(until)
    assert second.until == 80


def test_a_long_run_is_thinned_without_hiding_its_worst_moments() -> None:
    moments = 10_000
    level = [1000] * moments
    level[5003] = 7
    behind: list[int] = [0] * moments
    behind[7777] = 900
    p99: list[float | None] = [None] * moments
    p99[2222] = 55.0
    series = Series(
        at_s=[number * 0.25 for number in range(moments)],
        open=level,
        behind=behind,
        opens_per_s=[10.0, 20.0] * (moments // 2),
        delivery_p99_ms=p99,
        open_by_group={"a": level},
        cpu={"nats": [0.5] * moments},
    )
    thin, per = thinned(series)
    assert per == 8
    assert len(thin.at_s) == 1250 <= MOST
    assert thin.at_s[-1] == series.at_s[-1]
    assert min(thin.open) == min(thin.open_by_group["a"]) == 7
    assert max(thin.behind) == 900
    assert set(thin.opens_per_s) == {15.0}
    assert [value for value in thin.delivery_p99_ms if value is not None] == [55.0]
    assert thin.connecting == []
    assert set(thin.cpu["nats"]) == {0.5}
    assert [plot.id for plot in curves(Results(name="a", verdict="passed", series=series))[0]]


def test_provenance_is_told_by_dotted_names() -> None:
    told = facts({"machine": {"cores": 2, "disks": ["a", "b c"]}, "python": "3.11", "edge": None})
    assert list(told) == [("machine.cores", "2"), ("machine.disks", "a 'b c'"), ("python", "3.11"), ("edge", "–")]
