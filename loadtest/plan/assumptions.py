"""What a plan assumes, in words."""

from __future__ import annotations

from loadtest.plan.outcome import Outcome
from loadtest.plan.rows import Rows
from loadtest.report.figures import count, s

__all__ = ["assumptions"]


def assumptions(outcome: Outcome) -> Rows:
    """Return the table of what was assumed."""
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
