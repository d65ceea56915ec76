"""Published SDKs and a browser's own EventSource, unmodified, through a real Varnish: alive and newest afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.edge.clients.followers import Follower, followers, seconds_to_hold, wait_for_all
from tests.edge.clients.site import LIFE, Environment, Site
from tests.servers import NatsServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIFETIME = float(LIFE["lifetime"])
LONGEST_PAUSE = 3.0
"""Seconds that the JavaScript SDK stays away at random after the end of a stream."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    nats = NatsServer(folder).start()
    try:
        with Site(folder, nats).running() as running:
            yield running
    finally:
        nats.kill()


@pytest.fixture(scope="module")
def environment(site: Site) -> Environment:
    return site.make("Production")[0]


@pytest.fixture(scope="module")
def clients(
    browser: Browser, site: Site, environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Follower]]:
    version = site.set(environment.key, "begun")
    folder = tmp_path_factory.mktemp("clients") / "pages"
    with followers(browser, folder, port=site.edge.port, environment=environment) as all_of_them:
        wait_for_all(all_of_them, "begun", version)
        yield all_of_them


def test_every_kind_of_client_follows_over_several_clean_ends(
    site: Site, environment: Environment, clients: list[Follower]
) -> None:
    began = time.monotonic()
    number = 0
    while min(len(each.proxy.streams(began)) for each in clients) < 3:
        number += 1
        version = site.set(environment.key, f"over-ends-{number}")
        wait_for_all(clients, f"over-ends-{number}", version, within=LONGEST_PAUSE + 5)
        assert time.monotonic() < began + 60
    seconds = time.monotonic() - began
    for each in clients:
        # A client that is ended at once, and comes back at once, would ask far more often than its streams end.
        assert len(each.proxy.streams(began)) <= seconds / (LIFETIME / 2) + 2, (each.name, seconds)
    assert number >= 3


def test_every_kind_of_client_survives_a_crash_of_the_origin(
    site: Site, environment: Environment, clients: list[Follower]
) -> None:
    [origin] = site.origins
    for number in range(2):
        origin.kill()
        version = site.set(environment.key, f"crashed-{number}")
        origin.start()
        seconds_to_hold(clients, f"crashed-{number}", version, within=15)
    # And all of them are alive: the next change comes live.
    version = site.set(environment.key, "live again")
    wait_for_all(clients, "live again", version, within=LONGEST_PAUSE + 5)


def test_a_crash_of_the_edge_itself_is_survived_as_well(
    site: Site, environment: Environment, clients: list[Follower]
) -> None:
    site.edge.process.kill()
    version = site.set(environment.key, "edge crashed")
    site.edge.start()
    wait_for_all(clients, "edge crashed", version, within=15)
