"""What all programs of an embedded stack have in common: how they are started, where they speak, how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flagstream.cli.child import Child

__all__ = ["Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Settings are read from `environ`, the process's own unless it is given.

    What programs say goes to our stderr, or to files of the folder `logs`. `orphaned` is the signal that each gets when
    we are killed.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    logs: Path | None = None
    orphaned: signal.Signals = signal.SIGTERM

    def child(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        log: Path | None = None,
        stops: tuple[signal.Signals, ...] = (signal.SIGTERM,),
    ) -> Child:
        """Return a program to start; `log` is where it speaks when there is no folder for that."""
        if self.logs is not None:
            log = self.logs / f"{name}.log"
        return Child(name, command, env, log=log, stops=stops, orphaned=self.orphaned)
