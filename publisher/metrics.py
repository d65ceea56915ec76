"""Prometheus metrics of one publisher process. No environment key, name or token is ever a label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["CONTENT_TYPE", "Announced", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@dataclass(frozen=True, slots=True)
class Announced:
    """What the relay counts by itself: announcements acknowledged, failed, blocked, refused, marked; seconds to ack.

    `database_errors` are the relay's looks and marks that failed, `too_far_ahead` the last comparison's environments.
    """

    published: int
    failed: int
    blocked: int
    refused: int
    marked: int
    database_errors: int
    lag: float
    too_far_ahead: int


class _Follower:
    """Reads figures that others keep, at the moment they are asked for."""

    def __init__(self, read: Callable[[], Announced]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the figures (prometheus_client calls this)."""
        now = self._read()
        outcomes = CounterMetricFamily(
            "publisher_announcements", "Attempts to announce, by outcome", labels=["outcome"]
        )
        for outcome in ("published", "failed", "blocked", "refused"):
            outcomes.add_metric([outcome], getattr(now, outcome))
        yield outcomes
        yield CounterMetricFamily(
            "publisher_announcements_marked", "Announcements written down as acknowledged", value=now.marked
        )
        yield CounterMetricFamily(
            "publisher_relay_database_errors", "Times that the database failed the relay", value=now.database_errors
        )
        yield GaugeMetricFamily(
            "publisher_announcement_lag_seconds", "From the last announced change to its ack", value=now.lag
        )
        yield GaugeMetricFamily(
            "publisher_too_far_ahead",
            "Environments, in database or broker, that an operator has to reset",
            value=now.too_far_ahead,
        )


class Metrics:
    """What this process counts, in a registry of its own so that several can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "publisher_requests",
            "Answers by method, route and status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "publisher_request_seconds", "From request to answer", ["route"], buckets=_BUCKETS, registry=self.registry
        )
        self._writes = Histogram(
            "publisher_write_seconds",
            "Writing transactions, commit included",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "publisher_outbox_waiting", "Environments with a version the broker does not have", registry=self.registry
        )
        self._oldest = Gauge(
            "publisher_outbox_oldest_seconds", "Age of the oldest version that waits", registry=self.registry
        )
        self._connected = Gauge("publisher_nats_connected", "1 while NATS is connected", registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method if method in _METHODS else "other", route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def write(self, seconds: float) -> None:
        """Count one writing transaction."""
        self._writes.observe(seconds)

    def outbox(self, waiting: int, oldest_seconds: float) -> None:
        """Set what waits for the broker."""
        self._waiting.set(waiting)
        self._oldest.set(oldest_seconds)

    def connected(self, *, now: bool) -> None:
        """Set whether NATS is connected."""
        self._connected.set(int(now))

    def follow(self, read: Callable[[], Announced]) -> None:
        """Show the figures of the parts that announce."""
        self.registry.register(_Follower(read))

    def exposition(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)
