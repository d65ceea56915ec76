"""What the live view is told of what was counted so far."""

from __future__ import annotations

from loadtest.grid import GroupPoint
from loadtest.progress import Progress

__all__ = ["tell"]


def tell(total: GroupPoint, progress: Progress) -> None:
    """Put the sums of a run into `progress`; its curves are kept by whoever draws them."""
    counts = total.counts
    progress.opened, progress.requests = counts["opened"], counts["requests"]
    delivery = total.histograms["delivery"]
    progress.deliveries = delivery.count
    p50, p99 = delivery.percentile(0.5), delivery.percentile(0.99)
    progress.delivery_p50_ms = None if p50 is None else p50 * 1e3
    progress.delivery_p99_ms = None if p99 is None else p99 * 1e3
    waits = [each for times in total.readmission.values() if (each := times.percentile(0.99)) is not None]
    progress.readmission_p99_s = max(waits, default=None)
    progress.duplicates = counts["duplicates"]
    progress.out_of_order = counts["out_of_order"]
    progress.errors = dict(total.errors)
