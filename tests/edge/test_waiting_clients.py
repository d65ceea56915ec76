"""What waiting clients do to an edge while no origin answers, and how soon they are newest when one is back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.edge.clients.counting import Request
from tests.edge.clients.followers import followers, seconds_to_hold, wait_for_all
from tests.edge.clients.site import Environment, Site
from tests.servers import NatsServer

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

AWAY = 20.0
AWAY_WITHOUT_A_ROOM = 6.0
NOTICED = 0.5
"""Seconds in which the waiting room sees an origin come back and ends its streams, of a tenth of a second each."""

PAUSES = {"Python SDK": 0.1, "EventSource": 1.0, "JS SDK 10": 3.0, "JS SDK 12": 3.0}
"""Seconds that a client stays away after a stream has ended: `retry` of the waiting room, and what SDKs do anyway."""

SLACK = 4.0
"""Seconds for a busy machine, and for the refetch."""


@pytest.fixture
def site(tmp_path: Path, nats_server: NatsServer) -> Iterator[Site]:
    with Site(tmp_path, nats_server).running() as running:
        yield running


@pytest.fixture
def environment(site: Site) -> Environment:
    return site.make("Production")[0]


def most_in(requests: list[Request], seconds: float) -> int:
    """Return the most requests within any `seconds`."""
    moments = [each.at for each in requests]
    return max((sum(1 for at in moments if begin <= at < begin + seconds) for begin in moments), default=0)


def test_twenty_seconds_without_an_origin_cost_nobody_more_than_a_request_a_second(
    browser: Browser, site: Site, environment: Environment, tmp_path: Path
) -> None:
    [origin] = site.origins
    version = site.set(environment.key, "before")
    with followers(browser, tmp_path / "pages", port=site.edge.port, environment=environment) as clients:
        wait_for_all(clients, "before", version)
        went = time.monotonic()
        origin.kill()
        version = site.set(environment.key, "meanwhile")
        time.sleep(AWAY)
        origin.start()
        returned = time.monotonic()
        took = seconds_to_hold(clients, "meanwhile", version, within=3 + SLACK + NOTICED)

        asked = {each.name: each.proxy.since(went, returned) for each in clients}
        report = {name: (len(requests), most_in(requests, 5)) for name, requests in asked.items()}
        print(f"\nrequests in {returned - went:.0f} s, most in 5 s: {report}; return to newest: {took}")  # noqa: T201 - pytest shows it when the test fails
        for name, requests in asked.items():
            assert len(requests) <= returned - went, (name, report)
            assert most_in(requests, 5) <= 5, (name, report)
            assert requests, f"{name} did not wait, it gave up"
        for name, seconds in took.items():
            assert seconds <= NOTICED + PAUSES[name] + SLACK, (name, took)

        version = site.set(environment.key, "after")
        wait_for_all(clients, "after", version)


def test_nobody_is_dead_for_good_when_the_waiting_room_was_down_as_well(
    browser: Browser, site: Site, environment: Environment, tmp_path: Path
) -> None:
    [origin], room = site.origins, site.waiting_room
    assert room is not None
    version = site.set(environment.key, "before")
    with followers(browser, tmp_path / "pages", port=site.edge.port, environment=environment) as clients:
        wait_for_all(clients, "before", version)
        went = time.monotonic()
        room.kill()
        origin.kill()
        version = site.set(environment.key, "meanwhile")
        time.sleep(AWAY_WITHOUT_A_ROOM)
        returned = time.monotonic()
        report = {each.name: round(len(each.proxy.since(went, returned)) / (returned - went), 1) for each in clients}
        origin.start()
        room.start()
        # A browser was told to stay away for 2 to 10 s, at worst just now.
        took = seconds_to_hold(clients, "meanwhile", version, within=10 + SLACK + NOTICED)
        print(f"\nrequests a second at the last resort: {report}; return to newest: {took}")  # noqa: T201 - pytest shows it when the test fails
        assert report["EventSource"] <= 1, report
        assert report["JS SDK 10"] <= 2, report
        assert report["JS SDK 12"] <= 2, report

        version = site.set(environment.key, "after")
        wait_for_all(clients, "after", version)
