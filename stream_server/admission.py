"""Who gets a stream, and who gets a short one without events because there is no room.

Whoever is refused gets a real answer all the same: a 200 that lives some seconds, beats and ends cleanly. Published
SDKs come back at once after an error or an empty answer, some of them a thousand times a second, and a browser's own
EventSource never comes back. The answers themselves hold descriptors, too; where those end, accepting does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Protocol

from stream_server.addresses import Addresses
from stream_server.metrics import Metrics

__all__ = ["NO_KEY", "Admission", "Occupancy", "Place", "Shedding"]

NO_KEY: Final = ""
"""Stands for every key that cannot exist, and for no room: those streams idle together and are told nothing."""

Reason = Literal["capacity", "address", "shed"]


class Occupancy(Protocol):
    """What is known of the streams of this process."""

    open: int


class Shedding(Protocol):
    """What an operator wants less of."""

    def shed(self, key: str) -> float:
        """Return the share of new streams of `key` to refuse, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Place:
    """What was decided for one stream: why it is refused, and what to call when it has left."""

    refused: Reason | None
    leave: Callable[[], None] | None


ROOM: Final = Place(None, None)


class Admission:
    """Decides for the streams of one process.

    `streams` is how many it holds, `per_address` how many of one client, 0 for any number; `occupancy` counts all
    that are open, the short ones of the refused included.
    """

    def __init__(
        self,
        *,
        occupancy: Occupancy,
        streams: int,
        per_address: int,
        addresses: Addresses,
        shedding: Shedding,
        metrics: Metrics,
    ) -> None:
        self._occupancy = occupancy
        self._streams = streams
        self._per_address = per_address
        self._addresses = addresses
        self._shedding = shedding
        self._refused: dict[Reason, Any] = {
            reason: metrics.streams_refused.labels(reason) for reason in ("capacity", "address", "shed")
        }
        self._turned_away = {reason: Place(reason, self._refused_left) for reason in self._refused}
        self.held: dict[bytes, int] = {}
        """Streams by client, where they are limited; who has none has no entry."""
        self.refused_open = 0
        """Streams open of those that were refused."""

    def refusal(self, key: str, scope: Mapping[str, Any]) -> Reason | None:
        """Return why a stream of `key` would be refused now, None if it would not."""
        return self._judge(key, self._client(scope))

    def admit(self, key: str, scope: Mapping[str, Any]) -> Place:
        """Decide for a stream that is opened right away, and count it until its place is left."""
        client = self._client(scope)
        refused = self._judge(key, client)
        if refused is not None:
            self._refused[refused].inc()
            self.refused_open += 1
            return self._turned_away[refused]
        if client is None:
            return ROOM
        self.held[client] = self.held.get(client, 0) + 1
        return Place(None, partial(self._left, client))

    def _client(self, scope: Mapping[str, Any]) -> bytes | None:
        return self._addresses.client(scope) if self._per_address else None

    def _judge(self, key: str, client: bytes | None) -> Reason | None:
        if self._occupancy.open - self.refused_open >= self._streams:
            return "capacity"
        if client is not None and self.held.get(client, 0) >= self._per_address:
            return "address"
        share = self._shedding.shed(key)
        if share > 0 and random.random() < share:  # noqa: S311 - chooses, guards nothing
            return "shed"
        return None

    def _left(self, client: bytes) -> None:
        left = self.held[client] - 1
        if left:
            self.held[client] = left
        else:
            del self.held[client]  # or every address ever seen would stay

    def _refused_left(self) -> None:
        self.refused_open -= 1
