"""Figures in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadtest.report import figures
from loadtest.report.words import printable


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        pytest.param(figures.count, 15000, "15,000", id="count"),
        pytest.param(figures.count, None, "–", id="no count"),
        pytest.param(figures.rate, 0, "0/s", id="no rate"),
        pytest.param(figures.rate, 2531.6, "2,532/s", id="rate"),
        pytest.param(figures.ms, 0.0512, "0.05 ms", id="short"),
        pytest.param(figures.ms, 9.996, "10.0 ms", id="rounded up to another digit"),
        pytest.param(figures.ms, 303.2, "303 ms", id="milliseconds"),
        pytest.param(figures.ms, 999.4, "999 ms", id="just milliseconds"),
        pytest.param(figures.ms, 999.6, "1.00 s", id="milliseconds that are seconds"),
        pytest.param(figures.s, 0.004, "4.00 ms", id="seconds that are milliseconds"),
        pytest.param(figures.s, 0.0, "0.00 s", id="no time"),
        pytest.param(figures.s, 9.44, "9.44 s", id="seconds"),
        pytest.param(figures.s, 125, "2 min 5 s", id="minutes"),
        pytest.param(figures.s, 300, "5 min", id="whole minutes"),
        pytest.param(figures.s, 7 * 3600 + 120, "7 h 2 min", id="hours"),
        pytest.param(figures.data_size, 512, "512 B", id="bytes"),
        pytest.param(figures.data_size, 1630, "1.59 KiB", id="kibibytes"),
        pytest.param(figures.data_size, 3 << 50, "3,072 TiB", id="far too many bytes"),
        pytest.param(figures.share, 0.975, "97.5 %", id="share"),
        pytest.param(figures.cpu, 71.24, "71.2 s", id="cpu"),
        pytest.param(figures.plain, 9.437183, "9.437", id="a value of any kind"),
        pytest.param(figures.plain, 1234567.8, "1,234,568", id="a large value"),
        pytest.param(figures.plain, 0.0, "0", id="nothing"),
    ],
)
def test_a_figure_is_written_with_three_digits_and_its_unit(
    write: Callable[[float | None], str], value: float | None, text: str
) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        pytest.param(100, 112.5, "+12.5 %", id="more"),
        pytest.param(100, 80, "-20.0 %", id="less"),
        pytest.param(100, 450, "×4.50", id="many times"),
        pytest.param(15000, 2, "÷7,500", id="a small part"),
        pytest.param(7, 7, "=", id="the same"),
        pytest.param(0, 3, "–", id="from nothing"),
        pytest.param(3, 0, "-100.0 %", id="to nothing"),
        pytest.param(None, 3, "–", id="unknown before"),
        pytest.param(3, None, "–", id="unknown after"),
    ],
)
def test_a_change_is_in_percent_unless_percents_say_little(
    before: float | None, after: float | None, text: str
) -> None:
    assert figures.change(before, after) == text


def test_words_of_others_stay_in_one_line_and_command_no_terminal() -> None:
    assert printable("a\x1b[31mred\x07\r\nb\u202e") == "a�[31mred� b�"
    assert printable("x" * 400, 10) == "x" * 9 + "…"
