"""What the servers of a local stack say of themselves, added up over their restarts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Hashable
from types import TracebackType
from typing import Final, Self

import httpx

from cdn.report.counters import DOCUMENTS, WAITING_ROOM
from cdn.report.varnishstat import AwayError, counters
from flagstream.cli.stack import Stack
from loadtest.stack import Figures

__all__ = ["LocalFigures", "Total"]

WITHIN: Final = 1.0
"""Seconds that a server has to say its figures."""

NOT_STREAMS: Final = (DOCUMENTS, WAITING_ROOM)
"""Backends of which the edge asks no stream of the origin."""

_REQUESTS = re.compile(rb"^flagstream_streams_(?:opened|refused)_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_OPEN = re.compile(rb"^flagstream_streams_open (\S+)$", re.MULTILINE)


class Total:
    """A counter over several lives of what counts: each begins at 0."""

    def __init__(self) -> None:
        self._before = 0
        self._last = 0
        self._life: Hashable = None

    def add(self, value: int, life: Hashable) -> int:
        """Take what `life` has counted so far; return the sum over all lives."""
        if life != self._life:
            self._before += self._last
            self._life = life
        self._last = value
        return self._before + value


class LocalFigures:
    """Asks the stream server's ``/metrics`` and Varnish's counters.

    A request counts at the origin when its stream has begun, or was refused with a short one; what the last quarter of
    a second before a kill counted is not told. Varnish does not tell requests for streams from others, so they are
    those under way and those that have ended, less those that it passed on uncached: 2,978 and 2,998 where 3,000
    requests had come while clients fetched. Fetches of a version of flags, which Varnish may keep, are among them. What
    it asked of the origin for streams it does tell: they have backends of their own.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._origin = Total()
        self._edge = Total()
        self._sent_on = Total()

    async def __aenter__(self) -> Self:
        """Make the client that asks."""
        # A connection of its own each time: one that is kept stays with one worker, which may be frozen.
        self._client = httpx.AsyncClient(timeout=WITHIN, limits=httpx.Limits(max_keepalive_connections=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close it."""
        await self._client.aclose()

    async def read(self) -> Figures:
        """Return them as they are now; None for what does not answer within a second."""
        (requests, streams), (edge_requests, sent_on, clients) = await asyncio.gather(
            self._of_origin(), self._of_edge()
        )
        return Figures(
            origin_requests=requests,
            edge_requests=edge_requests,
            edge_sent_on=sent_on,
            origin_streams=streams,
            edge_clients=clients,
        )

    async def _of_origin(self) -> tuple[int | None, int | None]:
        supervisor = self._stack.stream_server.pids[:1]
        try:
            async with asyncio.timeout(WITHIN):
                answer = await self._client.get(f"{self._stack.stream_url}/metrics")
        except (httpx.TransportError, TimeoutError):
            return None, None
        if not answer.is_success or supervisor != self._stack.stream_server.pids[:1]:
            return None, None
        text = answer.content
        total = self._origin.add(sum(int(float(value)) for value in _REQUESTS.findall(text)), tuple(supervisor))
        return total, sum(int(float(value)) for value in _OPEN.findall(text))

    async def _of_edge(self) -> tuple[int | None, int | None, int | None]:
        edge = self._stack.edge
        if edge is None:
            return None, None, None
        life = tuple(edge.varnish.pids)
        try:
            async with asyncio.timeout(WITHIN):
                found = await counters(edge.name)
        except (AwayError, TimeoutError):
            return None, None, None
        if life != tuple(edge.varnish.pids):
            return None, None, None
        passed = sum(each.connections for name, each in found.backends.items() if name.startswith(DOCUMENTS))
        under_way = max(0, found.clients - passed)
        # One that waited for another's answer is counted again when it goes on.
        ended = found.main.get("client_req", 0) - found.main.get("busy_sleep", 0) - found.main.get("s_pass", 0)
        sent_on = sum(each.requests for name, each in found.backends.items() if not name.startswith(NOT_STREAMS))
        return self._edge.add(ended + under_way, life), self._sent_on.add(sent_on, life), under_way
