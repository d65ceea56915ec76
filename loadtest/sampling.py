"""CPU and memory of programs while a run goes on, by the names that their stack gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.machine import cpu_of, resident

__all__ = ["Sampler", "Usage"]

Pids = Callable[[], Mapping[str, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Usage:
    """One program: CPU seconds that its processes have used so far, the dead ones too, and bytes resident now.

    A page that processes share, as those of a supervisor and its workers do, counts in each.
    """

    cpu: float
    rss: int


class Sampler:
    """Reads what the processes that `pids()` names have used, in some tens of microseconds each.

    Of a process that ends, what it used after its last sample is not known.
    """

    def __init__(self, pids: Pids) -> None:
        self._pids: Final = pids
        self._living: dict[str, dict[int, float]] = {}
        self._dead: dict[str, float] = {}

    def sample(self) -> dict[str, Usage]:
        """Return the usage of every program that was ever named; one that is down has no memory."""
        named = self._pids()
        return {name: self._usage(name, named.get(name, ())) for name in {**self._living, **named}}

    def _usage(self, name: str, pids: Sequence[int]) -> Usage:
        before = self._living.get(name, {})
        now: dict[int, float] = {}
        rss = 0
        for pid in pids:
            try:
                now[pid] = cpu_of(pid)
                rss += resident(pid)
            except OSError:  # it has just ended
                continue
        # Less than before is another process that was given its id.
        ended = sum(cpu for pid, cpu in before.items() if pid not in now or now[pid] < cpu)
        self._dead[name] = self._dead.get(name, 0.0) + ended
        self._living[name] = now
        return Usage(cpu=self._dead[name] + sum(now.values()), rss=rss)
