"""What a plan comes to, in rows of words: the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtest.plan.outcome import Outcome
from loadtest.report.figures import NONE, count, data_size, rate, s

__all__ = ["Rows", "happens", "money", "takes"]


DIRECTLY: Final = (
    "Not in these bills: load balancers, TLS, protection against floods and people, which going directly needs most of."
)


@dataclass(frozen=True, slots=True)
class Rows:
    """One table; the first column names, the others are figures."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    about: str = ""
    prose: bool = False
    """Whether its cells are words instead of figures."""


def money(dollars: float | None) -> str:
    """Return dollars: ``$1,234``; below ten with cents."""
    if dollars is None:
        return NONE
    return f"${dollars:,.2f}" if abs(dollars) < 10 else f"${dollars:,.0f}"  # noqa: PLR2004 - where cents stop to count


def happens(outcome: Outcome) -> list[Rows]:
    """Return the tables of what was simulated."""
    return [_steady(outcome), _failures(outcome)]


def takes(outcome: Outcome) -> list[Rows]:
    """Return the tables of what that takes and costs, and what was assumed."""
    return [
        _costs(outcome),
        _by_lifetime(outcome),
        _by_clients(outcome),
        _sizing(outcome),
        _documents(outcome),
        _assumptions(outcome),
    ]


def _steady(outcome: Outcome) -> Rows:
    steady = outcome.steady
    return Rows(
        f"{count(outcome.clients)} clients, {count(outcome.processes)} stream-server processes",
        ("", "mean or median", "peak"),
        [
            ("Streams open", count(steady.open), ""),
            ("Opened by clients", rate(steady.opens_per_s), rate(steady.opens_per_s_peak)),
            ("Opened at the origin", rate(steady.origin_opens_per_s), rate(steady.origin_opens_per_s_peak)),
            ("Streams at the origin", count(steady.origin_streams_p50), count(steady.origin_streams_peak)),
            ("Sent to clients", f"{data_size(outcome.bandwidth.clients)}/s", ""),
            ("Sent by the origin", f"{data_size(outcome.bandwidth.origin)}/s", ""),
        ],
        f"Steady state, from {s(steady.since_s)} to {s(steady.until_s)} of the simulation.",
    )


def _failures(outcome: Outcome) -> Rows:
    failures = outcome.failures
    return Rows(
        "Failures",
        ("", *(f"{failure.what}, at {s(failure.at_s)}" for failure in failures)),
        [
            ("Clients cut", *(count(failure.cut) for failure in failures)),
            ("… that give up for good", *(count(failure.gave_up) for failure in failures)),
            ("50 % back after", *(s(failure.back.p50_s) for failure in failures)),
            ("99 % back after", *(s(failure.back.p99_s) for failure in failures)),
            ("The last after", *(s(failure.back.max_s) for failure in failures)),
            ("Not back by the end", *(count(failure.not_back) for failure in failures)),
            ("Requests, at most", *(rate(failure.requests_per_s_peak) for failure in failures)),
            ("Opened by clients, at most", *(rate(failure.opens_per_s_peak) for failure in failures)),
            ("Opened at the origin, at most", *(rate(failure.origin_opens_per_s_peak) for failure in failures)),
        ]
        if failures
        else [],
        "Back: on a stream of the origin's again, a waiting room's does not count. Who gives up does so by his model, "
        "until the app is started anew.",
    )


def _documents(outcome: Outcome) -> Rows:
    documents = outcome.documents
    return Rows(
        "Flags fetched",
        ("", "at the edge", "at the origin"),
        [
            ("Always", rate(documents.edge_per_s), rate(documents.origin_per_s)),
            (
                f"After a change, {count(documents.clients)} clients",
                count(documents.edge_requests),
                count(documents.origin_requests),
            ),
            ("… in the first second", rate(documents.edge_per_s_peak), rate(documents.origin_per_s_peak)),
        ],
        "The change is to the largest environment.",
    )


def _sizing(outcome: Outcome) -> Rows:
    ways = list(outcome.sizing.items())
    return Rows(
        "Stream servers needed",
        ("", *({"direct": "directly", "through": "behind the edge"}[way] for way, _ in ways)),
        [
            ("Streams, at most", *(count(size.streams) for _, size in ways)),
            ("Processes by open files", *(count(size.processes_by_descriptors) for _, size in ways)),
            ("Memory", *(data_size(size.gib * 2**30) for _, size in ways)),
            ("Cores, always", *(f"{size.cores_steady:.2f}" for _, size in ways)),
            ("Cores to tell a change in time", *(f"{size.cores_by_delivery:.2f}" for _, size in ways)),
            ("Cores to open all in time", *(f"{size.cores_by_storm:.2f}" for _, size in ways)),
            ("Processes", *(count(size.processes) for _, size in ways)),
            ("Machines", *(count(size.machines) for _, size in ways)),
            *(
                [("Machines of the edge", *(count(size.edge_machines) for _, size in ways))]
                if any(size.edge_machines for _, size in ways)
                else []
            ),
        ],
    )


def _costs(outcome: Outcome) -> Rows:
    return Rows(
        "A month",
        ("", "machines", "egress", "CDN: GB", "requests", "in all", "10⁶ client-hours"),
        [
            (
                costs.way,
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
        return [DIRECTLY]
    edge = outcome.costs[1]
    said = []
    ranges = outcome.through_is_cheaper
    if outcome.break_even_clients is not None:
        said.append(
            f"The {edge.way} costs less than going directly from {count(outcome.break_even_clients)} clients on."
        )
    elif ranges:
        between = ", ".join(f"{count(begin)} to {count(end)}" for begin, end in ranges)
        said.append(f"The {edge.way} costs less than going directly with {between} clients.")
    else:
        said.append(f"The {edge.way} costs more than going directly, for any number of clients up to 10⁹.")
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
    return [*said, DIRECTLY]


def _by_clients(outcome: Outcome) -> Rows:
    decades = [point for point in outcome.by_clients if str(point.clients).strip("0") == "1"]
    return Rows(
        "A million client-hours, by clients",
        ("clients", *(way.way for way in decades[0].ways)),
        [(count(point.clients), *(money(way.per_million_client_hours) for way in point.ways)) for point in decades],
    )


def _by_lifetime(outcome: Outcome) -> Rows:
    points = outcome.by_lifetime
    return Rows(
        "A month, by lifetime of streams",
        ("lifetime", *(way.way for way in points[0].ways)),
        [(s(point.lifetime_s), *(money(way.total) for way in point.ways)) for point in points],
        f"{count(outcome.clients)} clients; the window in which streams may be joined grows with their lifetime.",
    )


def _assumptions(outcome: Outcome) -> Rows:
    plan = outcome.plan
    whole = sum(mix["share"] for mix in plan["clients"]["mix"])
    regions = sum(region["share"] for region in plan["regions"])
    edge, streams, prices = plan["edge"], plan["streams"], plan["prices"]
    changes, environments = plan["changes"], plan["environments"]

    def tiers(name: str) -> str:
        return ", ".join(
            f"${tier['per_gb']:g}" + (f" to {tier['up_to_gb']:,.0f} GB" if tier["up_to_gb"] else " beyond")
            for tier in prices[name]
        )

    lives = (
        f"live {s(streams['lifetime'])}, may be joined for {s(streams['join_window'])}, "
        f"heartbeat every {s(streams['heartbeat'])}"
    )
    machine = (
        f"${prices['machine']:,.2f} a month, {prices['machine_cores']} cores, {prices['machine_gib']:g} GiB, "
        f"{plan['targets']['load'] * 100:g} % of it used"
    )
    return Rows(
        "Assumed",
        ("", "by the plan"),
        [
            (
                "Clients",
                ", ".join(f"{mix['share'] / whole * 100:.3g} % {mix['model']}" for mix in plan["clients"]["mix"]),
            ),
            ("Environments", f"{count(environments['count'])}, {environments['spread']}"),
            (
                "Regions",
                ", ".join(
                    f"{each['name']} {each['share'] / regions * 100:.3g} % ({each['pops']} POPs)"
                    for each in plan["regions"]
                ),
            ),
            ("Edge", f"{edge['kind']}, shield: {edge['shield']}" if edge["on"] else "none"),
            ("Streams", lives),
            (
                "Changes",
                f"{changes['per_environment_per_hour']:g} an hour and environment; {changes['document_bytes']:,} bytes",
            ),
            ("CDN", f"${prices['cdn_per_10k_requests']:g} for 10,000 requests; a GB: {tiers('cdn')}"),
            ("Egress, a GB", tiers("egress")),
            ("Machine", machine),
        ],
        "Prices are examples of list prices; docs/planning.md has their pages and dates. Contracts differ by much.",
        prose=True,
    )
