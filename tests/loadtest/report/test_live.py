"""What a terminal shows while a run goes on, and when it is over."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console
from rich.text import Text

from loadtest.progress import Progress
from loadtest.report.live import LiveView, line
from loadtest.report.sparkline import Sparkline
from loadtest.report.summary import summary
from loadtest.results import Generator, Results, Series


def part(series: Series, moments: int) -> Series:
    """Return the first moments of a series."""
    cut = {
        name: {key: each[:moments] for key, each in values.items()} if isinstance(values, dict) else values[:moments]
        for name in series.__struct_fields__
        for values in [getattr(series, name)]
    }
    return msgspec.convert(cut, Series)


@pytest.fixture
def progress(run: Results) -> Progress:
    """Two thirds of the way, after both faults."""
    moments = len(run.series.at_s) * 2 // 3
    at = run.series.at_s[moments - 1]
    return Progress(
        title=run.title,
        seconds=run.seconds,
        clients=1500,
        phase="running",
        at=at,
        series=part(run.series, moments),
        delivery_p50_ms=3.2,
        delivery_p99_ms=80.1,
        readmission_p99_s=9.4,
        errors={"connection refused": 1234, "cut": 7500},
        said=[(fault.at_s, f"{fault.number} {fault.what}") for fault in run.faults if fault.at_s <= at],
    )


def shown(view: LiveView, width: int, height: int, **options: object) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None, **options)  # type: ignore[arg-type]
    with console.capture() as captured:
        console.print(view)
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50), (50, 16), (24, 6), (300, 80)])
def test_the_view_fits_its_terminal_with_a_row_to_spare(progress: Progress, width: int, height: int) -> None:
    rows = shown(LiveView(progress), width, height)
    assert len(rows) <= height - 1
    assert max(map(len, rows)) <= width
    assert "running" in rows[0]


def test_all_that_one_wants_to_know_is_on_80_by_24(progress: Progress) -> None:
    told = "\n".join(shown(LiveView(progress), 80, 24))
    for what in (
        *("Storm: a worker is killed", "3 min 20 s of 5 min", "of 1,500", "connecting 0", "waiting 0", "behind 0"),
        *("gave up 150", "opened 0/s", "delivery p50 3.20 ms", "p99 80.1 ms", "re-admission p99 9.40 s"),
        *("cut 7,500 · connection refused 1,234", "90.0 s  1 kill worker", "180.0 s  2 kill workers"),
        *("open  ", "opened/s", "delivery p99"),
    ):
        assert what in told, told
    assert "█" in told
    assert "┊" in told


def test_a_terminal_without_blocks_gets_ascii(progress: Progress) -> None:
    view = LiveView(progress)
    console = Console(file=io.TextIOWrapper(io.BytesIO(), "ascii"), width=80, height=24, force_terminal=True)
    rows = view._head(80, ascii_only=True) + view._pictures(80, 12, ascii_only=True)
    assert console.options.ascii_only
    assert all(row.plain.isascii() for row in rows[1:2] + rows[-10:])


def test_one_view_follows_a_terminal_that_is_resized(progress: Progress) -> None:
    view = LiveView(progress)
    wide = shown(view, 120, 40)
    assert shown(view, 80, 24) == shown(LiveView(progress), 80, 24)
    assert shown(view, 120, 40) == wide


def test_a_picture_is_drawn_over_the_last_one_and_gone_at_the_end(progress: Progress) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    assert isinstance(console.file, io.StringIO)
    with LiveView(progress, console) as view:
        first = len(console.file.getvalue())
        view.refresh()
        again = console.file.getvalue()[first:]
    # One write that goes up over the rows of before, clears nothing but each row as it replaces it.
    assert again.count("\x1b[1A") == 22
    assert "\x1b[2J" not in again
    assert console.file.getvalue().endswith("\x1b[1A\x1b[2K")
    assert "\x1b[?25h" in console.file.getvalue()


def test_where_there_is_no_terminal_lines_are_printed_now_and_then(progress: Progress, run: Results) -> None:
    console = Console(file=io.StringIO(), width=40)
    assert isinstance(console.file, io.StringIO)
    told = iter_moments(progress, run)
    with LiveView(progress, console) as view:
        for _ in told:
            view.refresh()
    lines = console.file.getvalue().splitlines()
    assert [each for each in lines if "kill" in each] == ["   90.0 s  1 kill worker", "  180.0 s  2 kill workers"]
    statements = [each for each in lines if "kill" not in each]
    assert 30 <= len(statements) <= 62  # one every five seconds of the run, and one where the phase changes
    assert "\x1b" not in console.file.getvalue()
    assert statements[0].startswith("    0.0 s  opening    open 0 of 1,500")


def iter_moments(progress: Progress, run: Results) -> Iterator[None]:
    """Play the run's moments, one a second."""
    said = list(progress.said)
    for moments in range(1, len(run.series.at_s), 4):
        progress.at = run.series.at_s[moments - 1]
        progress.phase = "opening" if progress.at < 20 else "running"
        progress.series = part(run.series, moments)
        progress.said = [each for each in said if each[0] <= progress.at]
        yield


def test_a_line_says_how_a_run_fares() -> None:
    fresh = Progress(title="a", seconds=10, clients=5)
    assert line(fresh) == (
        "    0.0 s  starting   open – of 5  waiting –  behind –  opened –  delivery p50 – p99 –  errors 0"
    )


def test_words_of_servers_and_files_command_no_terminal(progress: Progress) -> None:
    hostile = replace(
        progress, title="\x1b[2J[bold]x\n\n", errors={"\x1b]0;pwned\x07": 3}, said=[(1.0, "\x1b[31m[link]\n")]
    )
    told = "\n".join(shown(LiveView(hostile), 80, 24))
    assert "\x1b" not in told.replace("\x1b[0m", "")
    assert "\x07" not in told
    assert "[bold]x" in told


def test_a_sparkline_keeps_what_was_most_and_shows_the_least_of_it() -> None:
    curve = Sparkline()
    at = [float(number) for number in range(100)]
    values: list[float | None] = [0.0] * 100
    values[50] = 1000.0
    values[75] = 0.001
    values[10] = None
    curve.follow(at, values, 100.0, 10)
    assert curve.rows(2) == ["     █    ", "     █ ▁  "]
    assert curve.rows(1, ascii_only=True) == ["     # .  "]


def test_a_sparkline_has_no_holes_where_samples_are_further_apart_than_columns() -> None:
    curve = Sparkline()
    curve.follow([0.0, 3.0, 6.0], [8.0, None, 4.0], 10.0, 10)
    assert curve.rows(1) == ["███   ▄   "]
    curve.follow([0.0, 3.0, 6.0, 9.0], [8.0, None, 4.0, 8.0], 10.0, 10)
    assert curve.rows(1) == ["███   ▄▄▄█"]


def test_a_sparkline_looks_at_each_value_once() -> None:
    looked = []

    class Watched(list[float]):
        def __getitem__(self, place: object) -> float:  # type: ignore[override]
            looked.append(place)
            return float(super().__getitem__(place))  # type: ignore[call-overload]

    curve, values = Sparkline(min), Watched([5.0, 3.0])
    curve.follow([0.0, 1.0], values, 10.0, 5)
    values.append(4.0)
    curve.follow([0.0, 1.0, 2.0], values, 10.0, 5)
    assert looked == [0, 1, 2]
    assert curve.columns == [3.0, 4.0, None, None, None]


def printed(results: Results, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    assert isinstance(console.file, io.StringIO)
    console.print(summary(results))
    return console.file.getvalue()


def test_the_summary_ends_with_the_verdict_and_is_plain_when_piped(run: Results) -> None:
    told = printed(run)
    assert "\x1b" not in told
    assert told.rstrip().endswith("Passed")
    assert "1: kill worker " in told
    assert "held  readmission.p99_s  <= 30" in told
    assert max(map(len, told.splitlines())) <= 80


def test_the_summary_of_a_failure_says_why(run: Results) -> None:
    told = printed(
        msgspec.structs.replace(
            run,
            verdict="failed",
            reasons=["lost is 3, not == 0"],
            warnings=["\x1b[31mlate"],
            generator=Generator(was_the_limit=True),
            faults=[msgspec.structs.replace(run.faults[0], error="there is no edge", all_back_s=None)],
            thresholds=[msgspec.structs.replace(run.thresholds[0], value=3, passed=False)],
        )
    )
    assert told.rstrip().endswith("Failed\n  lost is 3, not == 0")
    assert "FAILED  lost" in told
    assert "The generator was the limit" in told
    assert "Fault 1 could not be done: there is no edge" in told
    assert "\x1b" not in told


def test_the_summary_says_by_how_much_clocks_may_be_wrong_what_the_publisher_answered_and_thresholds_in_full(
    run: Results,
) -> None:
    held = msgspec.structs.replace(
        run.thresholds[0],
        figure="groups.flagsmith-android.delivery.skipped",
        condition="<= 0.01 * groups.flagsmith-android.delivery.count",
    )
    told = printed(
        msgspec.structs.replace(
            run,
            delivery=msgspec.structs.replace(run.delivery, clock_error_ms=0.25),
            publishing=msgspec.structs.replace(run.publishing, errors={"connection refused": 18}),
            thresholds=[held],
        )
    )
    assert "of other hosts may be wrong by 0.25 ms" in told
    assert "Publishing: connection refused 18" in told
    assert "…" not in told
    assert "clocks" not in printed(run)


def test_a_run_that_measured_nothing_has_a_summary() -> None:
    told = printed(Results(name="nothing", verdict="interrupted"))
    assert "Interrupted" in told
    assert Text(told).plain == told
