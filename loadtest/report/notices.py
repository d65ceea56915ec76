"""The warnings of a run, told apart: the generator's own limits spoil figures, shared cores only colour them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtest.results import Results

__all__ = ["Notices", "notices"]

LIMIT: Final = "the generator was the limit: "
SHARED: Final = "all cores of this machine "


@dataclass(frozen=True, slots=True)
class Notices:
    """Warnings by what they are of, in the order of the results; what is neither of the first two is in `others`."""

    limit: tuple[str, ...]
    """Ways in which the generator was the limit, without the words that say so."""
    shared: tuple[str, ...]
    others: tuple[str, ...]


def notices(results: Results) -> Notices:
    """Return the warnings of a run."""
    limit = [warning for warning in results.warnings if warning.startswith(LIMIT)]
    shared = [warning for warning in results.warnings if warning.startswith(SHARED)]
    return Notices(
        limit=tuple(warning.removeprefix(LIMIT) for warning in limit),
        shared=tuple(shared),
        others=tuple(warning for warning in results.warnings if warning not in limit and warning not in shared),
    )
