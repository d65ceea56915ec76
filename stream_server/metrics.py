"""What Prometheus can ask of a stream server; no environment key is ever a label.

With several workers each scrape reaches one of them and must answer for all. Then the supervisor sets
``PROMETHEUS_MULTIPROC_DIR`` before a worker imports prometheus-client, which keeps every figure in a file of that
folder, and the scraped worker sums over the files: a worker that is dead or stuck is still counted, nobody is asked.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response

from stream_server.tally import Tally

__all__ = ["MULTIPROCESS_FOLDER", "Metrics"]

MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

PUBLISHED_EVERY: Final = 0.25
"""Seconds between two tellings of the figures that change with every stream."""

LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
DISPATCH_BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.streams_open = Tally(
            Gauge("flagstream_streams_open", "Streams open now", registry=own, multiprocess_mode="livesum")
        )
        self.streams_opened = Tally(Counter("flagstream_streams_opened", "Streams opened", registry=own))
        self.streams_ended = Counter("flagstream_streams_ended", "Streams ended, by reason", ["reason"], registry=own)
        self.streams_refused = Counter(
            "flagstream_streams_refused", "Streams refused with a short one, by reason", ["reason"], registry=own
        )
        self.events_dispatched = Counter(
            "flagstream_events_dispatched", "Events begun to be sent to an environment's streams", registry=own
        )
        self.deliveries = Tally(Counter("flagstream_deliveries", "Frames offered to streams", registry=own))
        self.conflated = Counter(
            "flagstream_conflated", "Frames replaced by a newer one before a slow stream took them", registry=own
        )
        self.dispatch_seconds = Histogram(
            "flagstream_dispatch_seconds",
            "Seconds from the first stream of an event to its last",
            buckets=DISPATCH_BUCKETS,
            registry=own,
        )
        self.feed_lag_seconds = Histogram(
            "flagstream_feed_lag_seconds",
            "Seconds from a change's own time to its receipt",
            buckets=LAG_BUCKETS,
            registry=own,
        )
        self.resyncs = Counter(
            "flagstream_resyncs", "Readings of all newest versions, by cause", ["cause"], registry=own
        )
        self.failed_resyncs = Counter("flagstream_failed_resyncs", "Readings that did not succeed", registry=own)
        self.ignored = Counter("flagstream_ignored_messages", "Messages ignored, by reason", ["reason"], registry=own)
        self.nats_connected = Gauge(
            "flagstream_nats_connected", "Whether every process is connected", registry=own, multiprocess_mode="livemin"
        )
        self.versions_known = Tally(
            Gauge("flagstream_versions_known", "Environments with a version", registry=own, multiprocess_mode="livemax")
        )
        self.versions_overflowed = Gauge(
            "flagstream_versions_overflowed",
            "Environments beyond max_environments, whose versions workers do not share",
            registry=own,
            multiprocess_mode="livemax",
        )
        self.ready = Gauge(
            "flagstream_ready", "Whether every process is ready", registry=own, multiprocess_mode="livemin"
        )
        self.draining = Gauge(
            "flagstream_draining", "Processes that are stopping", registry=own, multiprocess_mode="livesum"
        )
        if MULTIPROCESS_FOLDER not in os.environ:
            ProcessCollector(registry=own)

    def publish(self) -> None:
        """Tell the registry what was only counted so far."""
        for tally in (self.streams_open, self.streams_opened, self.deliveries, self.versions_known):
            tally.publish()

    async def run(self) -> None:
        """Publish for ever, so that whichever worker is asked answers for all."""
        try:
            while True:
                await asyncio.sleep(PUBLISHED_EVERY)
                self.publish()
        finally:
            self.publish()

    def exposition(self) -> bytes:
        """Return the figures of this process, or the sum over all workers, in Prometheus' text format 0.0.4."""
        self.publish()
        if MULTIPROCESS_FOLDER not in os.environ:
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call] # untyped package
        return generate_latest(everybody)

    async def endpoint(self, _: Request) -> Response:
        """Answer ``GET /metrics``."""
        return Response(self.exposition(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
