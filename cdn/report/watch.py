"""Reads the counters once a second, for ever, and says in the log when Varnish goes, comes and was restarted."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from cdn.report.counters import Counters
from cdn.report.figures import Figures
from cdn.report.varnishstat import AwayError, counters
from flagstream.logs import get_logger

__all__ = ["Watch"]

log = get_logger(__name__)

EVERY: Final = 1.0

STILL: Final = 5.0
"""Seconds without progress of its clock after which Varnish counts as away: a frozen one can still be read."""


class Watch:
    """Keeps `figures` at the newest reading of the Varnish with working folder `name`; `fault` says what is wrong."""

    def __init__(self, name: str, figures: Figures, still: float = STILL) -> None:
        self._name = name
        self._figures = figures
        self._still = still
        self._uptime: int | None = None
        self._moved = 0.0
        self.fault = "not read yet"

    async def run(self) -> None:
        """Read for ever; nothing that Varnish does ends it."""
        while True:
            try:
                found = await counters(self._name)
            except AwayError as error:
                self._lost(str(error))
            else:
                self._take(found)
            await asyncio.sleep(EVERY)

    def _lost(self, reason: str) -> None:
        self._figures.counters = None
        self._figures.failures += 1
        if reason != self.fault:
            log.warning("Varnish cannot be read", name=self._name, reason=reason)
        self.fault = reason

    def _take(self, found: Counters) -> None:
        clock = time.monotonic()
        if found.uptime != self._uptime:
            self._moved = clock
        elif clock - self._moved > self._still:
            self._lost("Varnish stands still; its parent process restarts it after cli_timeout, 60 s")
            return
        self._figures.counters = found
        if self._uptime is not None and found.uptime < self._uptime:
            self._figures.restarts += 1
            log.warning("Varnish was restarted: its clients were cut and its cache is empty", uptime=found.uptime)
        if self.fault:
            log.info("Varnish is read", name=self._name, uptime=found.uptime, clients=found.clients)
        self._uptime = found.uptime
        self.fault = ""
