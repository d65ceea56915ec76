"""Pictures for documents."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from loadtest.report import figures
from loadtest.report.draw import main
from loadtest.report.pictures import open_streams, two_runs
from loadtest.report.svg import Curve, Panel, clock, picture, ticks
from loadtest.results import Results, written
from tests.loadtest.report.test_page import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - our own


def texts(svg: ET.Element) -> list[str]:
    return ["".join(each.itertext()) for each in svg.iter(f"{SVG}text")]


def points(line: ET.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_a_run_is_a_curve_with_its_faults_marked(run: Results) -> None:
    svg = parsed(open_streams(run))
    assert {"Storm: a worker is killed, then all of them; everybody comes back", "kill worker", "kill workers"} <= set(
        texts(svg)
    )
    opened, behind = svg.iter(f"{SVG}polyline")
    assert len(points(opened)) > 20
    assert all(a[0] <= b[0] for a, b in pairwise(points(opened)))
    bottom = max(y for _, y in points(opened))
    assert sum(y == bottom for _, y in points(opened)) >= 2  # at its begin, and when all were killed
    assert min(y for _, y in points(behind)) > bottom


def test_two_runs_lie_over_each_other_with_a_legend(run: Results, faster: Results) -> None:
    svg = parsed(two_runs(run, faster, ("direct", "through Varnish"), title="A storm"))
    back = f"half were back within {figures.s(run.readmission.p50_s)}, 99 % within {figures.s(run.readmission.p99_s)}"
    assert "A storm" in texts(svg)
    [direct] = [told for told in texts(svg) if told.startswith("direct: ")]
    assert back in direct
    assert any(told.startswith("through Varnish: ") for told in texts(svg))
    lines = list(svg.iter(f"{SVG}polyline"))
    assert len(lines) == 4
    assert lines[0].attrib["stroke"] == lines[2].attrib["stroke"] != lines[1].attrib["stroke"]
    assert points(lines[0]) != points(lines[1])


def test_a_picture_brings_no_background_script_or_reference(run: Results) -> None:
    text = open_streams(run)
    assert len(text) < 40_000
    for word in ("<script", "href", "url(", "@import", "<image", 'width="100%"'):
        assert word not in text
    assert {each.attrib.get("fill") for each in parsed(text).iter(f"{SVG}rect")} <= {None}


def test_nothing_in_a_run_is_taken_for_markup(run: Results) -> None:
    hostile = msgspec.structs.replace(run, title=HOSTILE, faults=[msgspec.structs.replace(run.faults[0], what=HOSTILE)])
    svg = parsed(two_runs(hostile, run, (HOSTILE, "b\x00")))
    assert {each.tag.removeprefix(SVG) for each in svg.iter()} <= {
        *("svg", "style", "text", "tspan", "path", "polyline", "polygon", "rect"),
    }


def test_a_gap_breaks_a_curve_and_a_picture_of_nothing_is_one() -> None:
    curve = Curve("a", [0, 1, 2, 3, 4], [1, 2, None, 3, 4])
    assert len(list(parsed(picture("a", "", [Panel("p", [curve])])).iter(f"{SVG}polyline"))) == 2
    assert "a &amp; b" in picture("a & b", "", [Panel("p", [Curve("a", [], [])])])


def test_thinning_keeps_a_dip_of_one_moment() -> None:
    values = [100.0] * 20_000
    values[12_345] = 0.0
    at = [number * 0.25 for number in range(20_000)]
    [line] = parsed(picture("a", "", [Panel("p", [Curve("a", at, values)])])).iter(f"{SVG}polyline")
    assert len(points(line)) < 10
    assert len({y for _, y in points(line)}) == 2


@pytest.mark.parametrize(
    ("most", "count", "sixty", "expected"),
    [
        pytest.param(15_000, 4, False, [0, 5000, 10_000, 15_000], id="thousands"),
        pytest.param(1, 4, False, [0, 0.25, 0.5, 0.75, 1], id="one"),
        pytest.param(300, 8, True, [0, 60, 120, 180, 240, 300], id="five minutes"),
        pytest.param(60, 8, True, [0, 10, 20, 30, 40, 50, 60], id="a minute"),
        pytest.param(7 * 86_400, 8, True, [86_400 * day for day in range(8)], id="a week"),
    ],
)
def test_axes_have_round_steps(most: float, count: int, sixty: bool, expected: list[float]) -> None:
    assert ticks(most, count, sixty=sixty) == pytest.approx(expected)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (7.5, "7.5 s"), (90, "1:30"), (3600, "1:00:00")])
def test_moments_are_read_as_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_pictures_are_drawn_from_the_files_of_runs(tmp_path: Path, run: Results, faster: Results) -> None:
    for name, results in (("direct", run), ("edge", faster)):
        (tmp_path / f"{name}.json").write_bytes(written(results))
    files = [str(tmp_path / "direct.json"), str(tmp_path / "edge.json")]
    drawn = tmp_path / "drawn.svg"
    assert main([str(drawn), files[0], "--title", "One"]) == 0
    assert drawn.read_text() == open_streams(run, title="One")
    assert main([str(drawn), *files]) == 0
    assert drawn.read_text() == two_runs(run, faster, ("direct", "edge"))


def test_a_file_that_is_not_of_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    assert main([str(tmp_path / "a.svg"), str(tmp_path / "other.json")]) == 2
    assert "other.json holds no results of a load test" in capsys.readouterr().err
    assert main([str(tmp_path / "a.svg"), str(tmp_path / "missing.json")]) == 2
    assert "missing.json" in capsys.readouterr().err
