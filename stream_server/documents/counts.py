"""What is counted; no key is ever a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["Counts"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counts:
    """The figures of the documents in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "flagstream_documents",
            "Requests for documents; outcome: memory, redis, upstream, stale, refused, error",
            ["document", "outcome"],
            registry=registry,
        )
        self.joined = Counter(
            "flagstream_document_flights_joined", "Requests that joined a fetch under way", registry=registry
        )
        self.upstream_seconds = Histogram(
            "flagstream_upstream_seconds", "Seconds of a request to the upstream", buckets=SECONDS, registry=registry
        )
        self.redis_failures = Counter(
            "flagstream_redis_failures", "Redis commands that failed or were too slow", registry=registry
        )
        self.snapshot_failures = Counter(
            "flagstream_snapshot_failures", "Readings and writings of the snapshot that failed", registry=registry
        )
        self.analytics_dropped = Counter(
            "flagstream_analytics_dropped", "Evaluations reported by SDKs that were not passed on", registry=registry
        )
