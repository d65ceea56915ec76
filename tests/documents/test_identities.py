"""One person's flags, and reports of evaluations."""

from __future__ import annotations

import asyncio
import json

import pytest

from publisher.evaluations import LARGEST_COUNT
from stream_server.documents import analytics
from tests.documents.upstream import CLIENT_KEY, NOW, Setup, Upstream, documents, is_stale

pytestmark = pytest.mark.asyncio

KEY = {"X-Environment-Key": CLIENT_KEY}
IDENTITY = {"identifier": "u", "traits": [{"trait_key": "age", "trait_value": 30}]}


async def test_person_is_fetched_for_each_request_because_traits_change_on_any_worker(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    for identifier in ("u", "u", "w@example.com"):
        response = await setup.client.get("/api/v1/identities/", params={"identifier": identifier}, headers=KEY)
        assert response.json()["flags"]
        assert not is_stale(response)
    assert setup.upstream.asked == [
        "/api/v1/identities/?identifier=u",
        "/api/v1/identities/?identifier=u",
        "/api/v1/identities/?identifier=w%40example.com",
    ]


async def test_requests_for_one_person_share_a_fetch_and_its_last_answer_when_the_upstream_fails(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    url = "/api/v1/identities/?identifier=u"
    gate = setup.upstream.hold()
    requests = [asyncio.create_task(setup.client.get(f"{url}&v={NOW + n}", headers=KEY)) for n in range(20)]
    await setup.upstream.arrived.acquire()
    gate.set()
    assert {(await request).status_code for request in requests} == {200}
    assert len(setup.upstream.asked) == 1
    setup.upstream.status = 503
    assert is_stale(await setup.client.get(url, headers=KEY))


async def test_fetch_of_a_person_that_began_before_new_traits_is_not_joined_after_them(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    url = "/api/v1/identities/"
    old = setup.upstream.hold()
    early = asyncio.create_task(setup.client.get(url, params={"identifier": "u"}, headers=KEY))
    await setup.upstream.arrived.acquire()
    setup.upstream.gate = asyncio.Event()
    setup.upstream.gate.set()
    await setup.client.post(url, json=IDENTITY, headers=KEY)
    setup.upstream.value = "after the traits"
    late = await asyncio.wait_for(setup.client.get(url, params={"identifier": "u"}, headers=KEY), 30)
    assert late.json()["flags"][0]["feature_state_value"] == "after the traits"
    old.set()
    await early
    again = await setup.client.get(url, params={"identifier": "u"}, headers=KEY)
    assert again.json()["flags"][0]["feature_state_value"] == "after the traits"


async def test_traits_always_reach_the_upstream(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    url = "/api/v1/identities/"
    for _ in range(2):
        response = await setup.client.post(url, json=IDENTITY, headers=KEY)
        assert response.status_code == 200
        assert response.headers["X-Flagstream-Version"] == str(NOW)
        assert response.headers["Cache-Control"] == "private, no-store"
    assert setup.upstream.bodies == [IDENTITY, IDENTITY]


async def test_last_answer_to_the_same_traits_is_served_when_the_upstream_fails(setup: Setup) -> None:
    url = "/api/v1/identities/"
    await setup.client.post(url, json=IDENTITY, headers=KEY)
    setup.upstream.status = 503
    response = await setup.client.post(url, json=IDENTITY, headers=KEY)
    assert response.json()["identifier"] == "u"
    assert is_stale(response)
    assert len(setup.upstream.asked) == 2
    other = await setup.client.post(url, json=IDENTITY | {"identifier": "w"}, headers=KEY)
    assert other.status_code == 502


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 5000,
        b"{}",
        b'{"identifier": 1}',
        b'{"identifier": ""}',
        b'{"identifier": "u", "traits": {}}',
        b'{"identifier": "u", "traits": [1]}',
        b'{"identifier": "u", "traits": [{"trait_value": 1}]}',
        json.dumps({"identifier": "u" * 2001}).encode(),
    ],
)
async def test_identity_that_makes_no_sense_is_refused_in_words(setup: Setup, body: bytes) -> None:
    response = await setup.client.post("/api/v1/identities/", content=body, headers=KEY)
    assert response.status_code == 400
    assert response.json()["detail"]
    assert setup.upstream.asked == []


@pytest.mark.parametrize("path", ["identities", "analytics/flags"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_that_is_too_large_is_refused(upstream: Upstream, path: str, chunked: bool) -> None:
    async def chunks() -> object:
        for _ in range(3):
            yield b"x" * 1024

    async with documents(upstream, max_body_bytes=2048) as setup:
        content = chunks() if chunked else b"x" * 3072
        response = await setup.client.post(f"/api/v1/{path}/", content=content, headers=KEY)  # type: ignore[arg-type]  # an async generator
        assert response.status_code == 413
        assert "2048" in response.json()["detail"]
        assert upstream.asked == []


async def test_person_without_identifier_is_refused(setup: Setup) -> None:
    for query in ("", "?identifier=", "?transient=true"):
        assert (await setup.client.get(f"/api/v1/identities/{query}", headers=KEY)).status_code == 400


async def test_reports_are_taken_at_once_and_passed_on_as_a_sum(setup: Setup) -> None:
    gate = setup.upstream.hold()
    began = asyncio.get_running_loop().time()
    for _ in range(10):
        response = await setup.client.post("/api/v1/analytics/flags/", json={"f": 2, "g": 1}, headers=KEY)
        assert (response.status_code, response.json()) == (200, {})
    gate.set()
    bodies = setup.upstream.bodies
    async with asyncio.timeout(30):
        while sum(body["f"] for body in bodies) < 20:
            await asyncio.sleep(0.005)
    assert {name: sum(body[name] for body in bodies) for name in ("f", "g")} == {"f": 20, "g": 10}
    assert set(setup.upstream.asked) == {"/api/v1/analytics/flags/"}
    seconds = asyncio.get_running_loop().time() - began
    assert len(setup.upstream.asked) <= seconds / analytics.INTERVAL + 1, "one sum a second"


@pytest.mark.parametrize("report", [[], {"f": "1"}, {"f": -1}, {"f": True}, {"f": 1.5}, {"f": 2**31}])
async def test_report_that_makes_no_sense_is_refused(setup: Setup, report: object) -> None:
    response = await setup.client.post("/api/v1/analytics/flags/", json=report, headers=KEY)
    assert response.status_code == 400


async def test_a_sum_of_reports_is_never_more_than_an_upstream_takes(upstream: Upstream) -> None:
    assert analytics.LARGEST_COUNT == LARGEST_COUNT, "the publisher's bound"
    async with documents(upstream) as setup:
        for count in (LARGEST_COUNT, 5):  # at once, or the first one might be passed on before the second comes
            setup.documents._analytics.collect(CLIENT_KEY, {"f": count, "g": 1})
    assert setup.sample("analytics_dropped_total") == 5
    assert upstream.bodies == [{"f": LARGEST_COUNT, "g": 2}]


async def test_reports_that_cannot_be_passed_on_are_counted_and_harm_nobody(upstream: Upstream) -> None:
    upstream.status = 503
    async with documents(upstream) as setup:
        await setup.client.post("/api/v1/analytics/flags/", json={"f": 7}, headers=KEY)
        await asyncio.wait_for(upstream.arrived.acquire(), 30)
    assert setup.sample("analytics_dropped_total") == 7


async def test_reports_that_wait_are_bounded(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analytics, "MOST_PAIRS", 3)
    async with documents(upstream) as setup:
        report = {f"feature-{index}": 1 for index in range(5)}
        assert (await setup.client.post("/api/v1/analytics/flags/", json=report, headers=KEY)).status_code == 200
        assert setup.sample("analytics_dropped_total") == 2
    # What waits when the process stops is still passed on.
    assert upstream.bodies == [{"feature-0": 1, "feature-1": 1, "feature-2": 1}]
