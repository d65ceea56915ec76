"""Prometheus figures of the purges. An edge's name is a label, an environment's never is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from publisher.purging.announcer import PurgeFirst

__all__ = ["PurgeFigures"]

COUNTERS: Final = {
    "purged": ("publisher_purges", "Purges done"),
    "failed": ("publisher_purges_failed", "Purges that an edge did not confirm; each is tried again"),
    "away": ("publisher_purges_away", "Purges that an edge did not need, because nobody listens at its address"),
    "forgotten": ("publisher_purges_forgotten", "Purges given up because too many wait"),
}


class PurgeFigures:
    """Reads the counters of `purges` at the moment they are asked for."""

    def __init__(self, purges: PurgeFirst) -> None:
        self._purges = purges

    def collect(self) -> Iterator[Metric]:
        """Yield the figures (prometheus_client calls this)."""
        for field, (name, text) in COUNTERS.items():
            family = CounterMetricFamily(name, text, labels=["edge"])
            for edge in self._purges.edges:
                family.add_metric([edge.name], getattr(edge.counters, field))
            yield family
        waiting = GaugeMetricFamily("publisher_purges_waiting", "Purges that wait for an edge", labels=["edge"])
        for edge in self._purges.edges:
            waiting.add_metric([edge.name], edge.waiting)
        yield waiting
        yield CounterMetricFamily(
            "publisher_announced_unpurged",
            "Announcements made although an edge was not purged in time",
            value=self._purges.unpurged,
        )
