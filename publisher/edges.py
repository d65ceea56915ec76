"""What the edges carry now: ask every edge's report at once, as the stream servers are asked for their streams."""

from __future__ import annotations

import msgspec
from nats.aio.client import Client

from publisher.asking import WAIT, ask_all
from publisher.messages import EDGES_SUBJECT, EdgeReply

__all__ = ["Edges", "edge_counts"]

_replies = msgspec.json.Decoder(EdgeReply)


class Edges(msgspec.Struct, frozen=True):
    """The edges that answered, by name; null while it is unknown. One that cannot be read does not answer."""

    edges: list[EdgeReply] | None


async def edge_counts(client: Client, wait: float = WAIT) -> Edges:
    """Return what the edges report within `wait` seconds."""
    found: dict[str, EdgeReply] = {}

    def take(payload: bytes) -> None:
        try:
            reply = _replies.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # whatever it is, it is no count
        found.setdefault(reply.edge, reply)

    if not await ask_all(client, EDGES_SUBJECT, b"{}", take, wait=wait):
        return Edges(None)
    return Edges(sorted(found.values(), key=lambda reply: reply.edge))
