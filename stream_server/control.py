"""What operators change while the server runs, environment by environment: kill switch, brown-out and shed level.

Values only: the hub and the admission of streams look here, `stream_server.operations` puts new ones in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["EVERYONE", "Controls", "LiveControls"]

EVERYONE: Final = "*"
"""Stands for every environment without an entry of its own."""


@dataclass(frozen=True, slots=True)
class Controls:
    """All that is in force at one moment; each table is by environment key and may hold `EVERYONE`.

    `killed` environments carry no events, `intervals` are seconds between events where the normal pace is too fast,
    `shares` say how many of the new streams are turned away (0 to 1). `exempt` is the environment that the controls
    themselves are flags of: `EVERYONE` does not mean it.
    """

    killed: frozenset[str] = frozenset()
    intervals: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    exempt: str = ""

    def is_killed(self, key: str) -> bool:
        """Tell whether the streams of `key` carry no events."""
        killed = self.killed
        return bool(killed) and (key in killed or (EVERYONE in killed and key != self.exempt))

    def interval(self, key: str) -> float:
        """Return the seconds between two events of `key` at least, 0 where nothing is slowed down."""
        return self._entry(self.intervals, key)

    def shed(self, key: str) -> float:
        """Return the share of new streams of `key` that get the answer of an overloaded server, 0 to 1."""
        return self._entry(self.shares, key)

    def changed(self, before: Controls) -> frozenset[str]:
        """Return the keys, `EVERYONE` among them, whose kill switch or pace is not what it was."""
        paced = self.intervals.keys() | before.intervals.keys()
        return (self.killed ^ before.killed) | {
            key for key in paced if self.intervals.get(key) != before.intervals.get(key)
        }

    def _entry(self, table: Mapping[str, float], key: str) -> float:
        if not table:
            return 0.0
        found = table.get(key)
        if found is None:
            found = 0.0 if key == self.exempt else table.get(EVERYONE, 0.0)
        return found


class LiveControls:
    """Answers by the `controls` that are in force now, for who is made before they are known."""

    __slots__ = ("controls",)

    def __init__(self, controls: Controls | None = None) -> None:
        self.controls = controls or Controls()

    def shed(self, key: str) -> float:
        """Return the share of new streams of `key` to turn away now, 0 to 1."""
        return self.controls.shed(key)
