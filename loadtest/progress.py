"""What the live view is shown while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadtest.results import Series

__all__ = ["Progress"]


@dataclass(slots=True)
class Progress:
    """Kept up to date by the conductor, four times a second; times are seconds of the run."""

    title: str
    seconds: float
    """The planned length."""
    clients: int
    phase: str = "starting"
    """One of: starting, opening, running, settling, finishing."""
    at: float = 0.0
    series: Series = field(default_factory=Series)
    """The curves so far; the last value of each is now."""
    opened: int = 0
    requests: int = 0
    deliveries: int = 0
    delivery_p50_ms: float | None = None
    delivery_p99_ms: float | None = None
    readmission_p99_s: float | None = None
    duplicates: int = 0
    out_of_order: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    said: list[tuple[float, str]] = field(default_factory=list)
    """(moment, what happened): faults as they are done, warnings as they arise."""
