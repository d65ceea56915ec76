"""Versions that are about to be announced: documents heed them, streams do not hear of them.

Before a publisher announces a change it may have edges forget the environment's documents. What they fetch again must
be the new one already, although nobody is to be told of it yet. So a foretold version counts for documents as if it
were announced. It is dropped when the announcement has come; one that never comes (the publisher died in between, and
announces later) costs a place in a bounded table.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

__all__ = ["Foretold"]

MOST: Final = 65536
"""Environments whose foretold version is kept; the oldest leave first, and are as if nobody had foretold them."""


class Announced(Protocol):
    """Knows the newest announced version of an environment, 0 where it knows none."""

    def newest(self, key: str) -> int:
        """Return it."""


class Foretold:
    """The newest version of an environment for documents: announced or foretold."""

    def __init__(self, announced: Announced) -> None:
        self._announced = announced
        self._foretold: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._foretold)

    def note(self, key: str, version: int) -> bool:
        """Take a foretold version, never a lower one; tell whether it is news."""
        if version <= self.newest(key):
            return False
        self._foretold[key] = version
        self._foretold.move_to_end(key)
        if len(self._foretold) > MOST:
            self._foretold.popitem(last=False)
        return True

    def settle(self, key: str) -> None:
        """Drop what was foretold of `key` if it is announced by now."""
        if self._foretold.get(key, 0) <= self._announced.newest(key):
            self._foretold.pop(key, None)

    def newest(self, key: str) -> int:
        """Return the newest version that documents of `key` must have, 0 where none is known."""
        announced = self._announced.newest(key)
        if not self._foretold:  # nobody purges, or nothing is on its way: all that most look-ups cost
            return announced
        return max(announced, self._foretold.get(key, 0))
