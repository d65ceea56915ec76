"""From settings to edges."""

from __future__ import annotations

from publisher.purging.fastly import FastlyEdge
from publisher.purging.queue import TIMEOUT, EdgePurges
from publisher.purging.varnish import VarnishEdge
from publisher.settings import PublisherSettings

__all__ = ["edges_of"]


def edges_of(settings: PublisherSettings) -> list[EdgePurges]:
    """Return what is to be purged, nothing where purging is off. Call it where the loop runs."""
    edges: list[VarnishEdge | FastlyEdge] = [VarnishEdge(url) for url in settings.purge_urls]
    if settings.fastly_service:
        token = settings.fastly_token.get_secret_value()
        timeout = min(TIMEOUT, settings.purge_patience)
        edges.append(FastlyEdge(settings.fastly_url, settings.fastly_service, token, timeout))
    return [EdgePurges(edge, patience=settings.purge_patience) for edge in edges]
