"""How many streams each environment has now: ask every stream-server process at once, and add up what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from nats.aio.client import Client

from publisher.asking import WAIT, ask_all
from publisher.messages import COUNTS_SUBJECT, CountsReply, CountsRequest

__all__ = ["StreamCounts", "Streams", "stream_counts"]

_replies = msgspec.json.Decoder(CountsReply)


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """Open streams by environment key, and how many stream-server processes answered in time."""

    streams: dict[str, int]
    servers: int


class Streams(msgspec.Struct, frozen=True):
    """Streams open now by environment key, over `servers` stream-server processes; null means unknown."""

    servers: int | None
    streams: dict[str, int | None]


async def stream_counts(client: Client, keys: Iterable[str], wait: float = WAIT) -> StreamCounts | None:
    """Return the streams of `keys` that the stream servers report within `wait` seconds, None when NATS is away."""
    asked = list(keys)
    totals: Counter[str] = Counter(dict.fromkeys(asked, 0))
    servers: set[str] = set()

    def take(payload: bytes) -> None:
        try:
            reply = _replies.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # whatever it is, it is no count
        if reply.server not in servers:
            servers.add(reply.server)
            totals.update({key: count for key, count in reply.streams.items() if key in totals})

    if not await ask_all(client, COUNTS_SUBJECT, msgspec.json.encode(CountsRequest(asked)), take, wait=wait):
        return None
    return StreamCounts(dict(totals), len(servers))
