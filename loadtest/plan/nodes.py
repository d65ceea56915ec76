"""Edge nodes: where requests of one environment at one place join a running stream, or open the next one.

A node is a place in a cache: (POP, environment), or (shield, environment) behind it. It knows the newest stream that it
has; older ones run on with the clients who joined them, and only their ends matter. Streams are numbered as they open.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Log", "Nodes"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

FIRST_SIZE: Final = 4096


class Log:
    """Every stream that an edge or a shield has opened, in columns that grow."""

    def __init__(self) -> None:
        self.count = 0
        self._place = np.zeros(FIRST_SIZE, dtype=np.int32)
        self._process = np.zeros(FIRST_SIZE, dtype=np.int32)
        self._at_origin = np.zeros(FIRST_SIZE, dtype=bool)
        self._waiting = np.zeros(FIRST_SIZE, dtype=bool)
        self._begin = np.zeros(FIRST_SIZE, dtype=np.float64)
        self._end = np.zeros(FIRST_SIZE, dtype=np.float64)

    def add(
        self, place: Ints, process: Ints, begin: Floats, end: Floats, *, at_origin: bool, waiting: NDArray[np.bool_]
    ) -> Ints:
        """Note streams and return their numbers; `at_origin`: each is the origin's own, not a shield's."""
        first, self.count = self.count, self.count + len(place)
        while self.count > len(self._place):
            for name in ("_place", "_process", "_at_origin", "_waiting", "_begin", "_end"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        new = slice(first, self.count)
        self._place[new], self._process[new], self._begin[new], self._end[new] = place, process, begin, end
        self._at_origin[new] = at_origin & ~waiting
        self._waiting[new] = waiting
        return np.arange(first, self.count, dtype=np.int32)

    @property
    def place(self) -> Ints:
        """The POP of each, -1 - number for a shield."""
        return self._place[: self.count]

    @property
    def process(self) -> Ints:
        """The process of the origin that feeds each, -1 where a waiting room does."""
        return self._process[: self.count]

    @property
    def at_origin(self) -> NDArray[np.bool_]:
        """Whether each is a stream that the origin holds."""
        return self._at_origin[: self.count]

    @property
    def waiting(self) -> NDArray[np.bool_]:
        """Whether each comes from a waiting room."""
        return self._waiting[: self.count]

    @property
    def begin(self) -> Floats:
        """When the head of each was written."""
        return self._begin[: self.count]

    @property
    def end(self) -> Floats:
        """When each ends."""
        return self._end[: self.count]


class Nodes:
    """The newest stream of each of `count` nodes: its number, until when it may be joined, when its head is there."""

    def __init__(self, count: int) -> None:
        self.stream: Ints = np.full(count, -1, dtype=np.int32)
        self.joinable: Floats = np.full(count, -np.inf)
        self.ready: Floats = np.full(count, -np.inf)

    def forget(self, lost: NDArray[np.bool_]) -> None:
        """Have nobody join streams that are lost; `lost` is by number of the stream."""
        known = self.stream >= 0
        gone = np.zeros(len(known), dtype=bool)
        gone[known] = lost[self.stream[known]]
        self.joinable[gone] = -np.inf

    def missing(self, node: Ints, at: Floats) -> NDArray[np.bool_]:
        """Tell who of those that come `at` to `node` finds nothing to join."""
        found: NDArray[np.bool_] = at >= self.joinable[node]
        return found

    def first(self, node: Ints) -> NDArray[np.intp]:
        """Return the places of those that come first to their node, in order; the others find what these open."""
        return np.sort(np.unique(node, return_index=True)[1])

    def take(self, node: Ints, stream: Ints, ready: Floats, joinable: Floats) -> None:
        """Note the newest streams of nodes."""
        self.stream[node], self.ready[node], self.joinable[node] = stream, ready, joinable
