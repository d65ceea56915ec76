from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.plan import wire
from loadtest.plan.bill import Bill, tiered
from loadtest.plan.costs import (
    break_even,
    by_clients,
    by_lifetime,
    cheaper,
    cheaper_from_lifetime,
    even_price,
)
from loadtest.plan.demand import Rates, events_per_s, formula_rates, occupied, rates, shares_of_models
from loadtest.plan.outcome import Sizing
from loadtest.plan.settings import Plan, Tier
from loadtest.plan.sizing import sizing

GOLDEN = Path(__file__).parents[2] / "golden"


def bill(**given: Any) -> Bill:
    plan = Plan.model_validate(given)
    opens = 1 / plan.streams.lifetime
    through = rates(plan, opens, dict.fromkeys(shares_of_models(plan), opens))
    return Bill(
        plan=plan, direct=formula_rates(plan, edge=False), through=through, streams_a_node=1.5, opens_a_node=0.05
    )


def test_bytes_are_those_on_our_wire() -> None:
    head, _, body = (GOLDEN / "stream_response.http").read_bytes().partition(b"\r\n\r\n")
    assert len(head) + 4 == wire.HEAD
    assert len(body) == wire.OPENING
    assert len((GOLDEN / "stream_event.sse").read_bytes()) == wire.EVENT
    assert len((GOLDEN / "stream_heartbeat.sse").read_bytes()) == wire.HEARTBEAT
    assert wire.chunked(wire.HEARTBEAT) == len(b"8\r\n: ping\n\n\r\n")


@pytest.mark.parametrize(("gigabytes", "price"), [(0, 0), (100, 0), (101, 1), (1100, 1000), (1200, 1050)], ids=str)
def test_each_gigabyte_costs_what_its_tier_says(gigabytes: float, price: float) -> None:
    tiers = [Tier(up_to_gb=100, per_gb=0), Tier(up_to_gb=1100, per_gb=1), Tier(per_gb=0.5)]
    assert tiered(gigabytes, tiers) == pytest.approx(price)


def test_a_client_hour_is_cheaper_in_a_larger_fleet() -> None:
    points = by_clients(bill())
    assert [way.way for way in points[0].ways] == ["direct", "cdn", "own edge"]
    # Machines come whole; between decades nothing is hidden by that.
    for point, larger in zip(points, points[4:], strict=False):
        for way, cheaper_way in zip(point.ways, larger.ways, strict=True):
            assert cheaper_way.per_million_client_hours < way.per_million_client_hours


def test_a_cdn_bills_each_stream_and_each_document_as_a_request() -> None:
    one = bill(
        clients={"count": 1_000_000},
        streams={"lifetime": 50, "join_window": 30},
        changes={"fetch": False},
        prices={"cdn_per_10k_requests": 0.01},
    )
    assert one.through is not None
    # A million clients that open a stream every 50 s for 730 hours: 52.56 thousand million requests.
    assert one.costs_through(1_000_000, one.through).cdn_requests == pytest.approx(52_560)
    shielded = Bill(
        plan=one.plan.model_copy(update={"edge": one.plan.edge.model_copy(update={"shield": "one"})}),
        direct=one.direct,
        through=one.through,
        streams_a_node=1.5,
        opens_a_node=0.05,
    )
    # 60 POPs with 200 environments each ask the shield every 20 s.
    asked = 12_000 * 0.05 * 730 * 3600 / 1e4 * 0.01
    assert shielded.costs_through(1_000_000, one.through).cdn_requests == pytest.approx(52_560 + asked, rel=0.001)


def test_longer_streams_cost_less_and_most_so_through_a_cdn() -> None:
    points = by_lifetime(bill(clients={"count": 1_000_000}))
    first, last = points[0], points[-1]
    assert (first.lifetime_s, last.lifetime_s) == (30, 3600)
    direct, cdn, _ = (late.total / early.total for early, late in zip(first.ways, last.ways, strict=True))
    assert cdn < 0.05
    assert cdn < direct < 0.25


def test_at_the_lifetime_or_the_price_that_is_said_a_cdn_costs_no_more_than_going_directly() -> None:
    lean = bill(clients={"count": 1_000_000, "mix": [{"model": "flagstream"}]}, prices={"cdn_per_10k_requests": 0.0005})
    lifetime, price = cheaper_from_lifetime(lean), even_price(lean)
    assert lifetime is not None
    assert price is not None
    direct, cdn, _ = lean.with_lifetime(lifetime).costs(1_000_000)
    assert cdn.total < direct.total
    priced = Bill(
        plan=lean.plan.model_copy(
            update={"prices": lean.plan.prices.model_copy(update={"cdn_per_10k_requests": price})}
        ),
        direct=lean.direct,
        through=lean.through,
        streams_a_node=lean.streams_a_node,
        opens_a_node=lean.opens_a_node,
    )
    direct, cdn, _ = priced.costs(1_000_000)
    assert cdn.total == pytest.approx(direct.total)


def test_where_nobody_can_join_the_origin_holds_a_stream_for_each_client_of_any_fleet() -> None:
    alone = bill(streams={"join_window": 0})
    assert alone.origin_streams(7_000_000) == 7_000_000


def test_changes_that_come_faster_than_the_server_tells_of_them_cost_no_more() -> None:
    fast, faster = (Plan.model_validate({"changes": {"per_environment_per_hour": rate}}) for rate in (14_400, 1e6))
    assert events_per_s(fast) == events_per_s(faster) == 4.0
    assert events_per_s(Plan.model_validate({"changes": {"per_environment_per_hour": 0}})) == 0


def test_an_edge_that_costs_next_to_nothing_pays_from_some_size_on() -> None:
    cheap = bill(
        prices={"cdn": [{"per_gb": 0.001}], "cdn_per_10k_requests": 0, "cdn_least": 300}, changes={"fetch": False}
    )
    ranges = cheaper(cheap)
    found = break_even(ranges)
    assert found is not None
    assert cheap.through is not None
    assert cheap.costs_through(found, cheap.through).total < cheap.costs_direct(found).total
    assert cheap.costs_through(found // 2, cheap.through).total >= cheap.costs_direct(found // 2).total


def test_an_edge_at_list_prices_with_short_streams_never_pays() -> None:
    assert break_even(cheaper(bill())) is None


def test_a_cdn_costs_its_least_however_few_clients_there_are() -> None:
    small = bill(clients={"count": 1})
    assert small.through is not None
    costs = small.costs_through(1, small.through)
    assert costs.cdn_traffic + costs.cdn_requests == pytest.approx(50)


def test_documents_asked_for_by_version_reach_the_origin_once_a_cache() -> None:
    mix = {"count": 100_000, "mix": [{"model": "flagstream"}]}
    kept = bill(clients=mix, environments={"count": 1}, regions=[{"name": "here", "pops": 3}])
    passed = bill(clients=mix, environments={"count": 1}, edge={"keeps_documents": False})
    assert kept.through is not None
    assert passed.through is not None
    assert kept.origin_documents(100_000, kept.through) == pytest.approx(3 * kept.through.events)
    assert passed.origin_documents(100_000, passed.through) == pytest.approx(100_000 * passed.through.events)


@pytest.mark.parametrize(("shield", "pairs"), [("none", 60 * 3), ("region", 4 * 3), ("one", 3)])
def test_with_many_clients_each_cache_has_some_of_each_environment(shield: str, pairs: int) -> None:
    plan = Plan.model_validate(
        {"environments": {"count": 3, "spread": "even"}, "edge": {"shield": shield}, "streams": {"join_window": 10}}
    )
    assert occupied(plan, 10_000_000) == pytest.approx(pairs)
    assert occupied(plan, 1) == pytest.approx(1)


def test_machines_follow_from_what_asks_for_most() -> None:
    plan = Plan.model_validate({"targets": {"storm_s": 1, "delivery_p99_ms": 100}})
    none = formula_rates(plan, edge=False)
    by_storm = sizing(plan, streams=1e6, storm=1e6, largest=0, rates=none, documents=0)
    assert by_storm.cores_by_storm == pytest.approx(68.0)
    assert by_storm.processes == 68
    assert by_storm.machines == 9
    by_delivery = sizing(plan, streams=1e6, storm=0, largest=1e6, rates=none, documents=0)
    assert by_delivery.cores_by_delivery == pytest.approx(53.6)
    by_files = sizing(plan, streams=1_900_001, storm=0, largest=0, rates=none, documents=0)
    assert by_files.processes_by_descriptors == 101
    by_memory = sizing(
        plan.model_copy(update={"costs": plan.costs.model_copy(update={"kernel_kib": 1000.0})}),
        streams=1e6, storm=0, largest=0, rates=none, documents=0,
    )  # fmt: skip
    assert by_memory.machines == by_memory.machines_by_memory == 100


def test_streams_opened_one_by_one_cost_more_than_a_queue_of_them() -> None:
    plan = Plan.model_validate({"changes": {"fetch": False}})
    rates_ = Rates(opens=0.1, events=0, heartbeats=0, documents=0)
    sized = sizing(plan, streams=1e4, storm=1e4, largest=0, rates=rates_, documents=0)
    assert sized.cores_steady == pytest.approx(1e4 * 0.1 * 190e-6)
    assert sized.cores_by_storm == pytest.approx(1e4 * 68e-6 / plan.targets.storm_s)


def test_tls_adds_handshakes_for_new_connections_alone_and_memory_for_each_stream() -> None:
    rates_ = Rates(opens=0.1, events=0.1, heartbeats=0, documents=0)

    def sized(**given: Any) -> Sizing:
        return sizing(Plan.model_validate(given), streams=1e6, storm=1e6, largest=1e6, rates=rates_, documents=0)

    mix = {"mix": [{"model": "flagsmith-js", "share": 3}, {"model": "flagstream", "share": 1}]}
    plain, tls = sized(clients=mix), sized(clients=mix, origin={"tls": True})
    assert tls.cores_steady - plain.cores_steady == pytest.approx(1e6 * (0.1 * 440e-6 / 4 + 0.1 * 5e-6))
    assert tls.cores_by_storm / plain.cores_by_storm == pytest.approx(508 / 68)
    assert tls.cores_by_delivery / plain.cores_by_delivery == pytest.approx(10.36 / 5.36)
    assert (tls.gib - plain.gib) * 2**20 == pytest.approx(1e6 * 27 + (tls.processes - plain.processes) * 69 * 1024)
