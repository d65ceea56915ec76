"""What a terminal shows while a run goes on, and the lines that are printed where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from loadtest.progress import Progress
from loadtest.report import figures
from loadtest.report.sparkline import Sparkline
from loadtest.report.words import printable

__all__ = ["LiveView", "line"]

Written = list[tuple[str, str]]
"""Names and figures."""

CURVES: Final = (
    ("open", "open", figures.count),
    ("opened/s", "opens_per_s", figures.rate),
    ("behind", "behind", figures.count),
    ("delivery p99", "delivery_p99_ms", figures.ms),
)
NAMES: Final = 13
VALUES: Final = 11
LINE_EVERY: Final = 5.0
"""Seconds of the run between two lines where there is no terminal."""


def line(progress: Progress) -> str:
    """Return how a run fares, in one line."""
    series = progress.series
    parts = [
        f"{progress.at:7.1f} s  {progress.phase:<9}",
        f"open {figures.count(_last(series.open))} of {figures.count(progress.clients)}",
        f"waiting {figures.count(_last(series.waiting))}",
        f"behind {figures.count(_last(series.behind))}",
        f"opened {figures.rate(_last(series.opens_per_s))}",
        f"delivery p50 {figures.ms(progress.delivery_p50_ms)} p99 {figures.ms(progress.delivery_p99_ms)}",
        f"errors {figures.count(sum(progress.errors.values()))}",
    ]
    return "  ".join(parts)


class LiveView:
    """Shows a `Progress` from `__enter__` to `__exit__`; whoever keeps it up to date calls `refresh`.

    On a terminal it is a picture that stays in its place and follows its size; elsewhere a line every five seconds of
    the run, and one for everything that happens.
    """

    def __init__(self, progress: Progress, console: Console | None = None) -> None:
        self.progress = progress
        self.console = console or Console()
        self._live = Live(
            self,
            console=self.console,
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=False,
        )
        # Of streams the fewest, of all else the most: what hurts must not be lost between two columns.
        self._curves = [Sparkline(min if name == "open" else max) for name, _, _ in CURVES]
        self._total = max(progress.seconds, 1e-3)
        self._said = 0
        self._next_line = 0.0
        self._phase = ""

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()
        else:
            self.refresh()

    def refresh(self) -> None:
        """Show what is known now."""
        if self.console.is_terminal:
            self._live.refresh()
            return
        progress = self.progress
        for moment, what in progress.said[self._said :]:
            self._print(f"{moment:7.1f} s  {printable(what)}")
        self._said = len(progress.said)
        if progress.at >= self._next_line or progress.phase != self._phase:
            self._print(line(progress))
            self._phase = progress.phase
            self._next_line = progress.at + LINE_EVERY

    def _print(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width, 20)
        # The last row stays free: a picture as high as the terminal scrolls it with every refresh.
        height = max(console.size.height - 1, 4)
        rows = self._head(width, ascii_only=options.ascii_only)
        told = [*self._errors(width), *self._events(max(2, height - 20))]
        room = height - len(rows) - len(told)
        rows += self._pictures(width, room, ascii_only=options.ascii_only)
        rows += told
        yield from rows[:height]

    def _head(self, width: int, *, ascii_only: bool) -> list[Text]:
        progress, series = self.progress, self.progress.series
        while progress.at > self._total:
            self._total *= 1.1  # settling may go on: the curves move left in steps, not with every refresh
        # Milliseconds would flicker by in the first second.
        at = figures.s(progress.at) if progress.at >= 1 else f"{progress.at:.1f} s"
        clock = f"{progress.phase}  {at} of {figures.s(progress.seconds)}"
        title = printable(progress.title, max(width - len(clock) - 2, 8))
        done = min(progress.at / progress.seconds, 1.0) if progress.seconds else 1.0
        full = round(done * width)
        solid, faint = ("#", "-") if ascii_only else ("━", "─")
        bar = Text(no_wrap=True)
        bar.append(solid * full, "green" if progress.phase != "settling" else "yellow")
        bar.append(faint * (width - full), "dim")
        return [
            Text.assemble(
                (title, "bold"), " " * max(width - len(title) - len(clock), 2), (clock, "cyan"), no_wrap=True
            ),
            bar,
            *_spread(
                width,
                [
                    ("open", f"{figures.count(_last(series.open))} of {figures.count(progress.clients)}"),
                    ("connecting", figures.count(_last(series.connecting))),
                    ("waiting", figures.count(_last(series.waiting))),
                    ("behind", figures.count(_last(series.behind))),
                    ("gave up", figures.count(_last(series.gave_up))),
                    ("opened", figures.rate(_last(series.opens_per_s))),
                    ("requests", figures.rate(_last(series.requests_per_s))),
                    ("events", figures.rate(_last(series.events_per_s))),
                    ("delivery p50", figures.ms(progress.delivery_p50_ms)),
                    ("delivery p99", figures.ms(progress.delivery_p99_ms)),
                    ("re-admission p99", figures.s(progress.readmission_p99_s)),
                    ("duplicates", figures.count(progress.duplicates)),
                    ("out of order", figures.count(progress.out_of_order)),
                ],
            ),
        ]

    def _pictures(self, width: int, room: int, *, ascii_only: bool) -> list[Text]:
        """Return the curves, in as many rows as there is room for: the first one has most of it."""
        series = self.progress.series
        across = width - NAMES - VALUES
        if across < 10 or room < len(CURVES):  # noqa: PLR2004 - a curve of fewer columns says nothing
            return []
        small = min(3, max(1, (room - 1) // (len(CURVES) + 1)))
        first = min(8, room - 1 - small * (len(CURVES) - 1))
        made: list[Text] = [Text()] if room > first + small * (len(CURVES) - 1) else []
        hurt = {moment for moment, _ in self.progress.said}
        for number, ((name, column, write), curve) in enumerate(zip(CURVES, self._curves, strict=True)):
            values: Sequence[float | None] = getattr(series, column)
            curve.follow(series.at_s, values, self._total, across)
            marked = {curve.column(moment) for moment in hurt}
            height = max(first if not number else small, 1)
            last = next((value for value in reversed(values[-40:]) if value is not None), None)
            for row, blocks in enumerate(curve.rows(height, ascii_only=ascii_only)):
                text = Text(no_wrap=True, overflow="crop")
                text.append(f"{name if row == height - 1 else '':<{NAMES}}", "dim")
                for place, block in enumerate(blocks):
                    if place in marked:
                        text.append(block if block != " " else ":" if ascii_only else "┊", "red")
                    else:
                        text.append(block, "green" if not number else "blue")
                text.append(f"{write(last) if row == height - 1 else '':>{VALUES}}")
                made.append(text)
        return made

    def _errors(self, width: int) -> list[Text]:
        errors = self.progress.errors
        if not errors:
            return [Text("no errors", "dim")]
        worst = sorted(errors.items(), key=lambda error: -error[1])
        told = " · ".join(f"{printable(what, 40)} {figures.count(times)}" for what, times in worst)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("errors  ", "dim")
        text.append(told, "yellow")
        text.truncate(width, overflow="ellipsis")
        return [text]

    def _events(self, most: int) -> list[Text]:
        made = []
        for moment, what in self.progress.said[-most:]:
            text = Text(no_wrap=True, overflow="ellipsis")
            text.append(f"{moment:7.1f} s  ", "dim")
            text.append(printable(what))
            made.append(text)
        return made


def _spread(width: int, said: Written) -> list[Text]:
    """Return names and figures in as few rows as they fit into, in columns that do not move with their values."""
    cell = 24
    columns = max(1, width // cell)
    rows = []
    for start in range(0, len(said), columns):
        text = Text(no_wrap=True, overflow="crop")
        for name, value in said[start : start + columns]:
            text.append(f"{name} ", "dim")
            text.append(f"{value:<{max(cell - len(name) - 2, 0)}} ", "bold")
        rows.append(text)
    return rows


def _last(values: Sequence[float | None]) -> float | None:
    return values[-1] if values else None
