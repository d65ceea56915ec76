"""The data that plots are drawn from."""

from __future__ import annotations

import json
import math
from random import Random

import pytest

from loadtest.histogram import Histogram
from loadtest.report.plots import Line, Plot, cumulative, data, latencies


def plot(**more: object) -> Plot:
    fields = {"id": "a", "title": "A", "x": [0.0, 1.0, 2.0], "lines": [Line("one", [1.0, None, 3.0])], **more}
    return Plot(**fields)  # type: ignore[arg-type]


def test_columns_that_plots_share_are_sent_once() -> None:
    sent = json.loads(data([plot(), plot(id="b", lines=[Line("two", [5, 6, 7])]), plot(id="c")]))
    assert sent["columns"] == [[0, 1, 2], [1, None, 3], [5, 6, 7]]
    assert [each["x"] for each in sent["plots"]] == [0, 0, 0]
    assert [each["lines"][0]["values"] for each in sent["plots"]] == [1, 2, 1]


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "a\u2028b\u2029c", "&lt;"])
def test_no_text_ends_the_element_that_the_data_stands_in(text: str) -> None:
    sent = data([plot(title=text, lines=[Line(text, [1, 2, 3])])]).decode()
    assert not set(sent) & set("<>&\u2028\u2029")
    assert json.loads(sent)["plots"][0]["title"] == text
    assert json.loads(sent)["plots"][0]["lines"][0]["name"] == text


def test_values_keep_four_digits_and_what_is_no_number_becomes_a_gap() -> None:
    sent = json.loads(data([plot(lines=[Line("one", [1.23456789, math.inf, math.nan])])]))
    assert sent["columns"][1] == [1.235, None, None]


def test_a_logarithmic_plot_leaves_zeros_out() -> None:
    assert json.loads(data([plot(log=True, lines=[Line("one", [0, 5.0, 0.0])])]))["columns"][1] == [None, 5, None]


def test_a_plot_without_values_is_not_sent() -> None:
    empty = plot(lines=[Line("one", [None, None, None])])
    assert empty.empty
    assert json.loads(data([empty, plot(x=[], lines=[Line("one", [])])])) == {"columns": [], "plots": []}


def test_a_line_that_is_not_as_long_as_its_plot_is_refused() -> None:
    with pytest.raises(ValueError, match="a: 'one' has 2 values for 3 of x"):
        data([plot(lines=[Line("one", [1, 2])])])


def test_latencies_by_nines_are_those_of_the_histogram_and_end_at_the_slowest() -> None:
    chance = Random(4)
    histogram, few = Histogram(), Histogram([(10, 1)])
    for _ in range(20_000):
        histogram.record(chance.lognormvariate(-4, 1))
    grid, [line, short] = latencies([histogram, few])
    assert grid[0] == 0
    assert grid[-1] == pytest.approx(math.log10(20_000))
    for nines, value in zip(grid[:-1], line[:-1], strict=True):
        wanted = histogram.percentile(1 - 10**-nines)
        assert value is not None
        assert wanted is not None
        assert value == pytest.approx(wanted * 1e3, rel=0.04)
    slowest = histogram.percentile(1.0)
    assert slowest is not None
    assert line[-1] == slowest * 1e3
    assert short[0] is not None
    assert not any(short[1:])


def test_cumulative_shares_rise_from_none_to_all() -> None:
    fast, slow = Histogram(), Histogram()
    for number in range(1, 101):
        fast.record(number / 100)
        slow.record(number / 10)
    grid, [first, second] = cumulative([fast, slow])
    assert len(grid) == len(first) == len(second) == 240
    assert first[0] == second[0] == 0
    assert first[-1] == second[-1] == 1
    for shares in (first, second):
        assert shares == sorted(share for share in shares if share is not None)
    half = next(moment for moment, share in zip(grid, second, strict=True) if share is not None and share >= 0.5)
    assert half == pytest.approx(5.0, rel=0.05)


def test_histograms_without_anything_give_lines_without_anything() -> None:
    assert cumulative([Histogram()]) == ([], [[]])
    assert cumulative([Histogram(), Histogram([(70, 1)])])[1][0] == [None] * 240
    assert latencies([Histogram()]) == ([0.0], [[None]])
