"""How costs change with the size of a fleet and the lifetime of streams, and from where on the edge costs less."""

from __future__ import annotations

import math
from typing import Final

from loadtest.plan.bill import Bill
from loadtest.plan.outcome import Point, Way

__all__ = ["break_even", "by_clients", "by_lifetime", "cheaper", "cheaper_from_lifetime", "even_price"]

LIFETIMES: Final = (30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds that streams are priced with beside those of the plan."""
STEPS_A_DECADE: Final = 40


def by_clients(bill: Bill) -> list[Point]:
    """Return the costs of fleets from a thousand clients to a hundred million."""
    return [_point(bill, round(10 ** (power / 4)), bill.plan.streams.lifetime) for power in range(12, 33)]


def by_lifetime(bill: Bill) -> list[Point]:
    """Return the costs of the plan's fleet with streams that live longer and shorter."""
    lifetimes = sorted({*map(float, LIFETIMES), bill.plan.streams.lifetime})
    return [_point(bill.with_lifetime(lifetime), bill.plan.clients.count, lifetime) for lifetime in lifetimes]


def _point(bill: Bill, clients: int, lifetime: float) -> Point:
    ways = [
        Way(way=costs.way, total=costs.total, per_million_client_hours=costs.per_million_client_hours)
        for costs in bill.costs(clients)
    ]
    return Point(clients=clients, lifetime_s=lifetime, ways=ways)


def cheaper_from_lifetime(bill: Bill) -> float | None:
    """Return how long streams have to live for the edge to cost less than going directly, up to a day."""
    if not bill.through:
        return None
    begin = math.log10(bill.plan.streams.lifetime)
    for step in range(STEPS_A_DECADE * 5):
        lifetime = 10 ** (begin + step / STEPS_A_DECADE)
        if lifetime > 86_400:  # noqa: PLR2004 - a day, as long as a stream may live
            break
        direct, through, *_ = bill.with_lifetime(lifetime).costs(bill.plan.clients.count)
        if through.total < direct.total:
            return lifetime
    return None


def even_price(bill: Bill) -> float | None:
    """Return the price of 10,000 requests at which a CDN costs as much as going directly; None: not even at 0."""
    if not bill.through:
        return None
    direct = bill.costs_direct(bill.plan.clients.count).total
    cdn = bill.costs_through(bill.plan.clients.count, bill.through, "cdn")
    left = direct - (cdn.total - cdn.cdn_requests)
    if left <= 0 or not cdn.cdn_requests:
        return None
    return bill.plan.prices.cdn_per_10k_requests * left / cdn.cdn_requests


def cheaper(bill: Bill) -> list[tuple[int, int | None]]:
    """Return from and to how many clients the edge costs less, looked at in steps of 6 %."""
    found: list[tuple[int, int | None]] = []
    if not bill.through:
        return found
    begin: int | None = None
    for step in range(2 * STEPS_A_DECADE, 9 * STEPS_A_DECADE + 1):
        clients = round(10 ** (step / STEPS_A_DECADE))
        less = bill.costs_through(clients, bill.through).total < bill.costs_direct(clients).total
        if less and begin is None:
            begin = clients
        elif not less and begin is not None:
            found.append((begin, clients))
            begin = None
    if begin is not None:
        found.append((begin, None))
    return found


def break_even(ranges: list[tuple[int, int | None]]) -> int | None:
    """Return from how many clients on the edge costs less for good."""
    return ranges[-1][0] if ranges and ranges[-1][1] is None else None
