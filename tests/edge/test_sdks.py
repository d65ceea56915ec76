"""Published SDKs and a browser's own EventSource, unmodified, through a real Varnish: alive and newest afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.sdk_page import served
from tests.edge.clients.followers import Follower, followers, wait_for_all
from tests.edge.clients.site import FEATURE, LIFE, Environment, Site
from tests.servers import NatsServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FETCH = """async ([base, key]) => {
  const ask = async (path, init) => {
    const answer = await fetch(base + path, init);
    const shown = Object.fromEntries(
      ["Age", "X-Stream-Lifetime", "X-Flagstream-Version", "X-Flagsmith-Document-Updated-At", "X-Varnish"].map(
        (name) => [name, answer.headers.get(name)]));
    if (path.includes("/stream")) { await answer.body.cancel(); return [answer.status, shown, null]; }
    return [answer.status, shown, await answer.json()];
  };
  const headers = {"X-Environment-Key": key, "Flagsmith-SDK-User-Agent": "flagsmith-js-sdk/12",
                   "Flagsmith-Application-Version": "1", "Content-Type": "application/json"};
  const wrong = {...headers, "X-Environment-Key": "nobody"};
  const body = JSON.stringify({identifier: "ann", traits: []});
  return {
    flags: await ask("/api/v1/flags/", {headers}),
    versioned: await ask("/api/v1/flags/?v=1", {headers}),
    identities: await ask("/api/v1/identities/", {headers, method: "POST", body}),
    refused: await ask("/api/v1/flags/", {headers: wrong}),
    nothing: await ask("/api/v1/nothing/", {}),
    method: await ask("/api/v1/flags/", {headers, method: "POST", body}),
    stream: await ask(`/sse/environments/${key}/stream`,
                      {headers: {"Cache-Control": "no-cache", "Last-Event-ID": "1"}}),
  };
}"""

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
    origin.kill()
    version = site.set(environment.key, "crashed")
    origin.start()
    wait_for_all(clients, "crashed", version, within=15)
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


def test_a_page_of_another_origin_may_read_every_answer_errors_included(
    browser: Browser, site: Site, environment: Environment, tmp_path: Path
) -> None:
    """As a browser does it, preflights included: what is not allowed makes fetch() throw, whatever the status."""
    with served(tmp_path, stream="", key=environment.key, feature=FEATURE) as pages:
        page = browser.new_page()
        page.goto(f"{pages}/event-source.html?base={site.edge.url}")
        answers = page.evaluate(FETCH, [site.edge.url, environment.key])
        page.close()
    statuses = {name: status for name, (status, _, _) in answers.items()}
    good = dict.fromkeys(("flags", "versioned", "identities", "stream"), 200)
    assert statuses == good | {"refused": 401, "nothing": 404, "method": 405}
    for name in ("refused", "nothing", "method"):
        assert answers[name][2]["detail"], name
    for name in ("flags", "versioned", "identities"):
        assert answers[name][1]["X-Flagstream-Version"], name
        assert answers[name][1]["X-Flagsmith-Document-Updated-At"], name
    stream = answers["stream"][1]
    assert 0 <= int(stream["Age"]) < float(stream["X-Stream-Lifetime"]) <= LIFETIME
    assert not any(headers["X-Varnish"] for _, headers, _ in answers.values())
