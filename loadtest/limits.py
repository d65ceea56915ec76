"""Whether the generator was itself the limit: then a figure says as much of it as of the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loadtest.collecting import OwnCost
from loadtest.publishing import LATE, Announcements
from loadtest.report.figures import count, s

__all__ = ["Cores", "limits", "sharing"]

BUSY_FOR: Final = 1.0
LATE_TIMER: Final = 0.25
LATE_SHARE: Final = 0.05
QUEUED: Final = 0.05
ALL_BUT_A_FEW: Final = 0.99
FULL: Final = 0.95
FULL_SHARE: Final = 0.1


class Cores:
    """How much of the machine's CPU was in use, turn by turn (proc(5), ``/proc/stat``)."""

    def __init__(self) -> None:
        self._before = _ticks()
        self.turns = 0
        self.full = 0

    def look(self) -> None:
        """Take the time since the last look; fully used is above 95 % of all cores."""
        busy, total = _ticks()
        busy_before, total_before = self._before
        self._before = busy, total
        if total > total_before:
            self.turns += 1
            self.full += (busy - busy_before) / (total - total_before) > FULL

    @property
    def were_full(self) -> bool:
        """Whether all cores were in use for more than a tenth of the time."""
        return self.full > FULL_SHARE * self.turns


def _ticks() -> tuple[int, int]:
    """Return (ticks in use, all ticks) since the machine started, all cores together."""
    try:
        first = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:  # not Linux
        return 0, 0
    user, nice, system, idle, waiting, *others = (int(field) for field in first.split()[1:9])
    busy = user + nice + system + sum(others)
    return busy, busy + idle + waiting


def limits(own: OwnCost, announced: Announcements) -> Iterator[str]:
    """Yield a warning for each way in which the generator was the limit."""
    if own.busy_for >= BUSY_FOR:
        yield (
            f"the generator was the limit: a process of it was busy {s(own.busy_for)} on end; "
            "spread the clients over more --processes, or over hosts with --agent"
        )
    if own.late > LATE_TIMER:
        yield (
            f"the generator was the limit: a timer of it was {s(own.late)} late, so clients came later than "
            "their models say; give it more cores, or fewer clients"
        )
    if announced.late > max(1.0, LATE_SHARE * announced.planned):  # one of a few says nothing
        yield (
            f"the generator was the limit: {count(announced.late)} of {count(announced.planned)} changes were sent "
            f"more than {s(LATE)} after their time; lower --rate, or give this machine less to do"
        )
    waited, answered = own.queued.percentile(ALL_BUT_A_FEW), own.answered.percentile(ALL_BUT_A_FEW)
    if waited is not None and waited > max(QUEUED, answered or 0.0):
        yield (
            f"the generator was the limit: one in a hundred fetches of flags waited {s(waited)} or longer "
            "for one of its connections, more than answers took, where each app has its own; use more --processes, "
            "raise the limit of open files (ulimit -n), or have the clients on other hosts (--agent)"
        )
    if own.errors:
        kinds = ", ".join(f"{words} ({count(times)})" for words, times in sorted(own.errors.items()))
        yield (
            f"the generator was the limit: this machine failed it: {kinds}; use more --processes, or have the clients "
            "on more hosts (--agent)"
        )


def sharing(cores: Cores | None) -> Iterator[str]:
    """Yield a warning where servers and generator used up the `cores` that they shared; None: they shared none."""
    if cores is not None and cores.were_full:
        yield (
            f"all cores of this machine were in use for {100 * cores.full / cores.turns:.0f} % of the run: server and "
            "generator shared them, and the figures are of both together; put the generator on another host (--agent)"
        )
