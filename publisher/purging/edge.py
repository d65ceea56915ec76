"""What an edge must be able to do, and how it says that it could not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["AwayError", "Edge", "PurgeError"]


class PurgeError(Exception):
    """The edge did not say that it has purged; `reason` is why, `wait` the seconds that it asked to be left alone."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        self.reason = reason
        self.wait = wait
        super().__init__(reason)


class AwayError(PurgeError):
    """Nobody listens at the edge's address: it serves nobody and, with its cache in memory, holds nothing."""


class Edge(Protocol):
    """One thing to purge: at most `batch` names in one call, `lanes` calls at once; `name` is fit for logs."""

    name: str
    batch: int
    lanes: int

    async def purge(self, names: Sequence[str]) -> None:
        """Purge everything that carries one of these surrogate keys; raises `PurgeError`."""

    async def close(self) -> None:
        """Close every connection."""
