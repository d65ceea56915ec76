"""The report as Prometheus asks for it; while Varnish is away there is `up`, which is 0, and none of its counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cdn.report.counters import WAITING_ROOM, Counters

__all__ = ["Figures"]

COUNTERS: Final = {
    "client_req": ("requests", "Requests of clients; a stream is counted when it has ended"),
    "cache_hit": ("hits", "Requests that found what they asked for or joined a stream, counted at their end"),
    "cache_miss": ("misses", "Requests for which an origin was asked, counted at their end"),
    "s_pass": ("passes", "Requests that were passed to an origin uncached"),
    "fetch_failed": ("fetch_failures", "Answers of origins that broke off or could not be read"),
    "backend_fail": ("connect_failures", "Connections to origins that failed"),
    "backend_unhealthy": ("unhealthy_fetches", "Requests to origins not made because a probe had failed"),
    "threads_limited": ("threads_limited", "Times that the limit thread_pool_max was met"),
    "threads_failed": ("threads_failed", "Threads that the system refused"),
    "sess_queued": ("sessions_queued", "Connections that had to wait for a thread"),
    "sess_dropped": ("sessions_dropped", "Connections dropped because too many waited for a thread"),
    "req_dropped": ("requests_dropped", "Requests dropped because too many waited for a thread"),
    "sess_fail": ("accept_failures", "Connections that could not be accepted"),
    "n_lru_nuked": ("lru_nuked", "Objects thrown out before their time because a storage was full"),
}
"""Counter of MAIN to name and meaning; prometheus-client adds ``_total``."""

GAUGES: Final = {
    "threads": ("threads", "Threads now"),
    "thread_queue_len": ("thread_queue", "Connections that wait for a thread now"),
    "n_objectcore": ("objects", "Objects in the cache now, running streams included"),
    "bans": ("bans", "Purges that still have to be looked at"),
    "uptime": ("uptime_seconds", "Seconds since the serving process of Varnish was started"),
}

PREFIX: Final = "flagstream_edge_"


class Figures(Collector):
    """Shows the newest reading; `counters` is None while there is none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counters: Counters | None = None
        self.restarts = 0
        self.failures = 0
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield every figure (prometheus-client calls this at each scrape)."""
        yield _gauge("up", "Whether the counters of Varnish can be read", 0 if self.counters is None else 1)
        yield _counter("restarts", "Restarts of Varnish that this report saw", self.restarts)
        yield _counter("failed_readings", "Times that the counters could not be read", self.failures)
        if self.counters is None:
            return
        found = self.counters
        yield _gauge("clients", "Requests being answered now, which are streams all but a few", found.clients)
        yield _gauge("origin_streams", "Requests under way at stream servers now", found.origin_streams)
        yield _gauge("waiting_streams", "Streams from the waiting room now", found.waiting_streams)
        for counter, (name, meaning) in COUNTERS.items():
            yield _counter(name, meaning, found.main.get(counter, 0))
        for gauge, (name, meaning) in GAUGES.items():
            yield _gauge(name, meaning, found.main.get(gauge, 0))
        yield from _backends(found)
        yield from _stores(found)

    def describe(self) -> Iterator[Metric]:
        """Name nothing in advance: a registry would ask `collect` instead."""
        return iter(())


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, meaning, value=value)


def _backends(found: Counters) -> Iterator[Metric]:
    labels = ["backend", "kind"]
    connections = GaugeMetricFamily(f"{PREFIX}backend_connections", "Requests under way now", labels=labels)
    requests = CounterMetricFamily(f"{PREFIX}backend_requests", "Requests sent", labels=labels)
    failures = CounterMetricFamily(f"{PREFIX}backend_failures", "Connections that failed", labels=labels)
    healthy = GaugeMetricFamily(f"{PREFIX}backend_healthy", "Whether the probe of it succeeds", labels=labels)
    for name, backend in found.backends.items():
        values = [name.removeprefix("fs_"), _kind(name)]
        connections.add_metric(values, backend.connections)
        requests.add_metric(values, backend.requests)
        failures.add_metric(values, backend.failures)
        if backend.healthy is not None:
            healthy.add_metric(values, int(backend.healthy))
    yield from (connections, requests, failures, healthy)


def _kind(name: str) -> str:
    return "waiting_room" if name == WAITING_ROOM else "origin"


def _stores(found: Counters) -> Iterator[Metric]:
    used = GaugeMetricFamily(f"{PREFIX}storage_used_bytes", "Bytes of a storage in use", labels=["storage"])
    free = GaugeMetricFamily(
        f"{PREFIX}storage_free_bytes", "Bytes of a storage left; 0 without a limit", labels=["storage"]
    )
    failures = CounterMetricFamily(f"{PREFIX}storage_failures", "Times that a storage was full", labels=["storage"])
    for name, store in found.stores.items():
        used.add_metric([name.lower()], store.used)
        free.add_metric([name.lower()], store.free)
        failures.add_metric([name.lower()], store.failures)
    yield from (used, free, failures)
