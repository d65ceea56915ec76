"""What happened in a run, told in sentences."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadtest.histogram import Histogram
from loadtest.limits import Cores, sharing
from loadtest.report.faults import all_back
from loadtest.report.gist import gist, unmarked
from loadtest.report.notices import notices
from loadtest.report.ways import ways
from loadtest.results import (
    Delivery,
    Fault,
    GroupResults,
    Publishing,
    Readmission,
    Requests,
    Results,
    Seconds,
    Streams,
)


def results(**fields: Any) -> Results:
    return Results(name="a", verdict="passed", **fields)


OPEN = Streams(clients=10, opened=20, requests=20, peak=10)
PUBLISHED = Publishing(planned=1)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        pytest.param(results(), [], id="never begun"),
        pytest.param(results(streams=Streams(requests=5)), ["No stream was ever opened."], id="refused"),
        pytest.param(
            results(
                streams=msgspec.structs.replace(OPEN, lost={"cut": 6, "refused": 9}, gave_up=1),
                readmission=Readmission(count=5, p50_s=1.2, p99_s=3, max_s=4.5),
                publishing=PUBLISHED,
            ),
            [
                (
                    "6 streams broke: half of those that came back did so within 1.20 s, 99 % within 3.00 s, the last "
                    "after 4.50 s."
                ),
                "1 client never came back, as the SDK that they model has it.",
                "At the end everybody who still followed had the newest version; no event came twice or out of order.",
            ],
            id="a storm",
        ),
        pytest.param(
            results(
                streams=msgspec.structs.replace(OPEN, ended=10),
                gap=Seconds(count=10, p99_s=2.5),
                lost=3,
                duplicates=1,
                out_of_order=2,
                groups=[
                    GroupResults(name="quick", model="flagstream", via="origin"),
                    GroupResults(name="never", model="flagstream", via="origin", lost=3),
                ],
                publishing=PUBLISHED,
            ),
            [
                (
                    "No stream broke; 10 were ended cleanly by the servers, and 99 % of their clients were back within "
                    "2.50 s."
                ),
                "3 clients had not the newest version at the end (never 3).",
                "1 event came twice and 2 events came out of order.",
            ],
            id="clean ends, and versions that did not arrive",
        ),
        pytest.param(
            results(streams=OPEN, requests=Requests(sent=20, edge=20, origin=2, origin_streams_peak=1)),
            [
                "No stream broke.",
                "Nothing was published, so delivery and staleness were not measured.",
                "Of 20 requests for streams 2 came to the origin, which held at most 1 stream for 10.",
            ],
            id="an edge, and nobody who published",
        ),
        pytest.param(
            results(
                streams=OPEN,
                requests=Requests(sent=20, sent_to_edge=10, edge=10, edge_sent_on=1, origin=11, origin_streams_peak=6),
                groups=[
                    GroupResults(name="direct", model="flagstream", via="origin"),
                    GroupResults(name="edge", model="flagstream", via="edge"),
                ],
            ),
            [
                "No stream broke.",
                "Nothing was published, so delivery and staleness were not measured.",
                (
                    "Of 10 requests for streams to the edge it made 1 to the origin; with those of clients that came "
                    "straight to it, it held at most 6 streams."
                ),
            ],
            id="an edge that only some came by",
        ),
    ],
)
def test_the_gist_of_a_run_is_what_broke_what_clients_know_and_what_an_edge_kept(
    found: Results, told: list[str]
) -> None:
    assert gist(found) == told


def test_a_fault_that_the_next_one_overtook_is_not_said_never_to_be_over() -> None:
    faults = [
        Fault(number=1, at_s=1, what="kill", lost=5),
        Fault(number=2, at_s=2, what="kill", lost=5, all_back_s=3.5),
        Fault(number=3, at_s=6, what="more clients", all_back_s=0.0),
        Fault(number=4, at_s=7, what="stop", error="there is none"),
        Fault(number=5, at_s=8, what="kill", lost=5),
    ]
    found = results(faults=faults)
    assert [all_back(found, fault) for fault in faults] == [
        "not before fault 2",
        "3.50 s",
        "nothing lost",
        "–",
        "not by the end",
    ]


def test_dips_are_called_clean_only_where_no_stream_broke_without_a_fault() -> None:
    ended = msgspec.structs.replace(OPEN, ended=3, left=1, lost={"cut": 5})
    fault = Fault(number=1, at_s=1, what="kill", lost=5)
    assert unmarked(results(streams=ended, faults=[fault])) == "clean ends and clients that leave"
    assert unmarked(results(streams=ended)) == ""


def test_what_is_said_of_shared_cores_is_known_as_that() -> None:
    cores = Cores()
    cores.turns, cores.full = 10, 5
    said = list(sharing(cores))
    assert notices(results(warnings=[*said, "another"])).shared == tuple(said)
    assert notices(results(warnings=[*said, "another"])).others == ("another",)


def test_two_ways_in_stand_beside_each_other_with_what_each_costs_the_origin() -> None:
    def group(name: str, via: str, seconds: float) -> GroupResults:
        delivery = Histogram()
        delivery.record(seconds, times=10)
        streams = Streams(clients=10, opened=20, requests=20, peak=10)
        return GroupResults(
            name=name, model="flagstream", via=via, streams=streams, delivery=Delivery(histogram=delivery.pairs())
        )

    groups = [group("a", "origin", 0.000_010), group("b", "edge", 0.000_020), group("c", "edge", 0.000_040)]
    names, rows = ways(results(groups=groups, requests=Requests(sent=60, edge=40, origin=22, origin_streams_peak=11)))
    assert names == ["direct", "edge"]
    assert dict(rows) == {
        "Clients": ["10", "20"],
        "Streams opened": ["20", "40"],
        "Requests for streams": ["20", "40"],
        "Of these, at the origin": ["20", "2"],
        "Streams at the origin, most": ["10", "1"],
        "Delivery: p50 · p99 · slowest": [
            "0.01\xa0ms · 0.01\xa0ms · 0.01\xa0ms",
            "0.02\xa0ms · 0.04\xa0ms · 0.04\xa0ms",
        ],
    }
    assert ways(results(groups=groups[1:])) == ([], [])
