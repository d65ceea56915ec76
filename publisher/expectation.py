"""Optimistic concurrency: what a caller expects the current version of a thing to be."""

from __future__ import annotations

from dataclasses import dataclass

from publisher.errors import StaleError

__all__ = ["ANY", "Expectation"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the caller saw. `if_match` comes from the header, `version` from the body; None means no wish.

    With neither, the last write wins.
    """

    if_match: frozenset[int] | None = None
    version: int | None = None

    def check(self, current: int) -> None:
        """Raise `StaleError` when `current` is not what the caller saw (RFC 9110, 13.1.1, for the header)."""
        if self.if_match is not None and current not in self.if_match:
            raise StaleError(current=current, by_header=True)
        if self.version is not None and current != self.version:
            raise StaleError(current=current, by_header=False)


ANY = Expectation()
"""The last write wins."""
