"""What a plan costs, in words: the bills, how they change, and why they are what they are."""

from __future__ import annotations

from typing import Final

from loadtest.plan.outcome import Outcome
from loadtest.plan.rows import Rows, counted_as, money
from loadtest.report.figures import count, s

__all__ = ["bills"]

WAYS: Final = {"direct": "directly", "cdn": "CDN", "own edge": "own edge"}


def bills(outcome: Outcome) -> list[Rows]:
    """Return the tables of what a plan costs."""
    return [_costs(outcome), _by_lifetime(outcome), _by_clients(outcome)]


def _costs(outcome: Outcome) -> Rows:
    return Rows(
        "A month",
        ("", "machines", "egress", "CDN: GB", "requests", "in all", "10⁶ client-hours"),
        [
            (
                WAYS[costs.way],
                *map(money, (costs.machines, costs.egress, costs.cdn_traffic, costs.cdn_requests, costs.total)),
                money(costs.per_million_client_hours),
            )
            for costs in outcome.costs
        ],
        " ".join(_levers(outcome)),
    )


def _levers(outcome: Outcome) -> list[str]:
    """Return why the edge costs what it does, and what changes it."""
    if len(outcome.costs) == 1:
        return [_left_out(outcome)]
    edge = outcome.costs[1]
    said = []
    ranges = outcome.through_is_cheaper
    if outcome.break_even_clients is not None:
        said.append(
            f"The {WAYS[edge.way]} costs less than going directly from {count(outcome.break_even_clients)} clients on."
        )
    elif ranges:
        between = ", ".join(f"{count(begin)} to {count(end)}" for begin, end in ranges)
        said.append(f"The {WAYS[edge.way]} costs less than going directly with {between} clients.")
    else:
        said.append(f"The {WAYS[edge.way]} costs more than going directly, for any number of clients up to 10⁹.")
    lifetime = outcome.plan["streams"]["lifetime"]
    said.append(
        f"A CDN bills each answer, so a client with streams of {s(lifetime)} is billed for one at least every "
        f"{s(lifetime)}. Longer streams change that most, then a contract."
    )
    if outcome.cheaper_from_lifetime_s is None:
        said.append("No lifetime up to a day makes it the cheaper way for this fleet.")
    elif outcome.cheaper_from_lifetime_s > lifetime:
        said.append(f"With streams of {s(outcome.cheaper_from_lifetime_s)} it is the cheaper way for this fleet.")
    listed = outcome.plan["prices"]["cdn_per_10k_requests"]
    if outcome.even_cdn_price is None:
        said.append("By the price of requests alone it cannot become so.")
    else:
        said.append(
            f"At ${outcome.even_cdn_price:.3g} for 10,000 requests instead of ${listed:g} a CDN costs as much "
            "as going directly."
        )
    return [*said, _left_out(outcome)]


def _by_clients(outcome: Outcome) -> Rows:
    decades = [point for point in outcome.by_clients if str(point.clients).strip("0") == "1"]
    return Rows(
        "A million client-hours, by clients",
        ("clients", *(WAYS[way.way] for way in decades[0].ways)),
        [(count(point.clients), *(money(way.per_million_client_hours) for way in point.ways)) for point in decades],
    )


def _by_lifetime(outcome: Outcome) -> Rows:
    points = outcome.by_lifetime
    return Rows(
        "A month, by lifetime of streams",
        ("lifetime", *(WAYS[way.way] for way in points[0].ways)),
        [(s(point.lifetime_s), *(money(way.total) for way in point.ways)) for point in points],
        f"{counted_as(outcome.clients, 'client', 'clients')}; "
        "the window in which streams may be joined grows with their lifetime.",
    )


def _left_out(outcome: Outcome) -> str:
    tls = "" if outcome.plan["origin"]["tls"] else "TLS, "
    return (
        f"Not in these bills: load balancers, {tls}protection against floods and people, which going directly needs "
        "most of."
    )
