"""Answers over NATS how much this edge carries; the dashboard asks every edge at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cdn.report.figures import Figures
from flagstream.logs import get_logger
from publisher.messages import EDGES_SUBJECT, EdgeReply, broker

__all__ = ["Answers"]

log = get_logger(__name__)


class Answers:
    """Replies for the Varnish of `figures`, which is `edge` among all edges. While it cannot be read there is none."""

    def __init__(self, figures: Figures, edge: str) -> None:
        self._figures = figures
        self._edge = edge
        self._connected = asyncio.Event()

    async def run(self, servers: Sequence[str], credentials: str) -> None:
        """Connect and answer, for ever; NATS may come and go."""
        client = await broker.connect(
            servers,
            name="flagstream edge report",
            credentials=credentials,
            on_connected=self._connected.set,
            on_disconnected=lambda: None,
            on_error=lambda error: log.warning("NATS reports an error", error=f"{type(error).__name__}: {error}"),
        )
        try:
            await self._connected.wait()
            await client.subscribe(EDGES_SUBJECT, cb=self._on_request)  # later connections keep it
            await asyncio.Event().wait()
        finally:
            await client.close()

    async def _on_request(self, message: Msg) -> None:
        found = self._figures.counters
        if not message.reply or found is None:
            return
        reply = EdgeReply(
            edge=self._edge,
            clients=found.clients,
            origin_streams=found.origin_streams,
            waiting_streams=found.waiting_streams,
        )
        try:
            await message.respond(msgspec.json.encode(reply))
        except NatsError:
            return  # the connection went away meanwhile; so did whoever asked
