"""What Prometheus can ask of a feeder; no environment key is ever a label."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

__all__ = ["Figures"]

LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Figures:
    """The figures of one feeder; those of its `Feed` have the names that a stream server gives them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
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
        self.nats_connected = Gauge("flagstream_nats_connected", "Whether NATS is connected", registry=own)
        self.versions_overflowed = Gauge("flagstream_versions_overflowed", "Always 0 in a feeder", registry=own)
        self.ready = Gauge("flagstream_ready", "Whether all newest versions were read once", registry=own)
        self.up = Gauge("flagstream_nchan_up", "Whether an nginx answers", ["nginx"], registry=own)
        self.unsent = Gauge(
            "flagstream_nchan_unsent", "Environments whose newest version is not confirmed", ["nginx"], registry=own
        )
        self.posted = Counter("flagstream_nchan_posted", "Versions that an nginx confirmed", ["nginx"], registry=own)
        self.refused = Counter("flagstream_nchan_refused", "Posts that an nginx refused", ["nginx"], registry=own)
        self.losses = Counter("flagstream_nchan_losses", "Times that an nginx was lost", ["nginx"], registry=own)
        self.refilled = Counter(
            "flagstream_nchan_refilled", "Times that an nginx was told everything", ["nginx"], registry=own
        )
        ProcessCollector(registry=own)
