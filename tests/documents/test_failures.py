"""What clients get while the upstream fails or refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stream_server.documents import cache
from stream_server.documents.upstream import CONNECTIONS, FOR_ANYBODY
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Setup, Upstream, documents, is_stale, value, version
from tests.servers import free_port

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        *((500, None), (503, None), (429, None), (302, b""), (200, b"<html>"), (200, b'"text"'), (200, b"")),
        # Pages of proxies that have lost their way to the API: they say nothing about the key.
        *((401, b"<html>"), (403, b"<html>"), (404, b"404 page not found"), (404, b"404"), (405, b"")),
    ],
)
async def test_last_good_document_is_served_and_says_that_it_is_stale(
    setup: Setup, status: int, raw: bytes | None
) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    assert value(await setup.flags()) == "a"
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    setup.upstream.status, setup.upstream.raw = status, raw
    began = asyncio.get_running_loop().time()
    for query in ("", f"?v={NOW + 1}", f"?v={NOW}"):
        response = await setup.flags(query)
        assert value(response) == "a"
        assert is_stale(response)
        assert response.headers["Cache-Control"] == "private, no-store"
    assert setup.count("stale") == 3
    seconds = asyncio.get_running_loop().time() - began
    assert len(setup.upstream.asked) <= 2 + seconds, "once, and again after a second"


async def test_upstream_that_is_back_is_used_within_a_second_or_so(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    setup.upstream.status = 500
    assert is_stale(await setup.flags())
    setup.upstream.status, setup.upstream.version = 200, NOW + 1

    async def until_it_is_new() -> None:
        while is_stale(await setup.flags()):
            await asyncio.sleep(0.05)

    await asyncio.wait_for(until_it_is_new(), 30)
    assert version(await setup.flags()) == NOW + 1


async def test_upstream_that_hangs_costs_its_timeout_once(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as patient:
        patient.versions.advance(CLIENT_KEY, NOW)
        await patient.flags()
    async with documents(upstream, snapshot_dir=str(tmp_path), upstream_timeout=0.3) as setup:
        setup.versions.advance(CLIENT_KEY, NOW + 1)
        gate = upstream.hold()
        answers = await asyncio.gather(*(setup.flags() for _ in range(50)))
        assert all(map(is_stale, answers))
        assert len(upstream.asked) == 2
        gate.set()


async def test_no_document_anywhere_is_a_clear_error() -> None:
    nowhere = Upstream(port=free_port())
    async with documents(nowhere) as setup:
        answers = await asyncio.gather(*(setup.flags() for _ in range(20)))
        for answer in answers:
            assert answer.status_code == 502
            assert "upstream_url" in answer.json()["detail"]
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert setup.count("error") == 20
        assert setup.sample("upstream_seconds_count") == 1


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refusal_is_passed_on_shared_and_forgotten_after_a_second(setup: Setup, status: int) -> None:
    setup.upstream.status = status
    answers = await asyncio.gather(*(setup.flags() for _ in range(20)))
    for answer in answers:
        assert answer.status_code == status
        assert answer.json() == {"detail": "Invalid or missing Environment key"}
    assert len(setup.upstream.asked) == 1
    setup.upstream.status = 200

    async def until_it_is_there() -> None:
        while (await setup.flags()).status_code != 200:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(until_it_is_there(), 30)


async def test_refused_key_loses_every_document_that_it_opened(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    headers = {"X-Environment-Key": SERVER_KEY}
    await setup.flags(key=SERVER_KEY)
    await setup.client.get("/api/v1/environment-document/", headers=headers)
    await setup.client.get("/api/v1/identities/?identifier=u", headers=headers)
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    setup.upstream.status = 401
    assert (await setup.flags(key=SERVER_KEY)).status_code == 401
    # Nothing is left that could be served as stale, also once the upstream only fails.
    setup.upstream.status = 500
    for path in ("environment-document/", "identities/?identifier=u"):
        assert (await setup.client.get(f"/api/v1/{path}", headers=headers)).status_code == 502


async def test_page_of_a_proxy_does_not_reach_clients_as_a_refusal(setup: Setup) -> None:
    setup.upstream.status, setup.upstream.raw = 403, b"<html>Forbidden</html>"
    response = await setup.flags()
    assert response.status_code == 502
    assert "upstream_url" in response.json()["detail"]
    setup.upstream.status = 413
    response = await setup.client.post(
        "/api/v1/identities/", json={"identifier": "u"}, headers={"X-Environment-Key": CLIENT_KEY}
    )
    assert response.status_code == 413
    assert response.json() == {"detail": "The upstream answered 413."}


async def test_page_of_a_proxy_deletes_no_document_from_any_layer(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        await setup.flags()
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        upstream.status, upstream.raw = 404, b"<h1>default backend - 404</h1>"
        assert is_stale(await setup.flags())
    upstream.status, upstream.raw = 503, None
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        assert value(await setup.flags()) == "a"


async def test_made_up_keys_cannot_take_the_connections_of_those_that_are_known(upstream: Upstream) -> None:
    async with documents(upstream, upstream_timeout=60) as setup:
        setup.versions.advance(CLIENT_KEY, NOW)
        await setup.flags()
        gate = upstream.hold()
        made_up = [asyncio.create_task(setup.flags(key=f"made-up-{number}")) for number in range(CONNECTIONS // 2)]
        for path in ("flags/?feature", "identities/?identifier"):
            urls = [f"/api/v1/{path}={number}" for number in range(CONNECTIONS // 2)]
            headers = {"X-Environment-Key": CLIENT_KEY}
            made_up += [asyncio.create_task(setup.client.get(url, headers=headers)) for url in urls]
        for _ in range(FOR_ANYBODY):
            await upstream.arrived.acquire()
        while len(setup.documents._cache._flights._tasks) < len(made_up):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # time for more to arrive than may
        upstream.gate = asyncio.Event()
        upstream.gate.set()
        upstream.version = NOW + 1
        setup.versions.advance(CLIENT_KEY, NOW + 1)
        response = await asyncio.wait_for(setup.flags(), 30)
        assert (version(response), is_stale(response)) == (NOW + 1, False)
        gate.set()
        assert {each.status_code for each in await asyncio.gather(*made_up)} == {200}


async def test_refused_keys_that_were_never_held_cost_the_disk_nothing(upstream: Upstream, tmp_path: Path) -> None:
    async with documents(upstream, snapshot_dir=str(tmp_path)) as setup:
        upstream.status = 401
        for number in range(20):
            assert (await setup.flags(key=f"made-up-{number}")).status_code == 401
        snapshot = setup.documents._snapshot
        assert snapshot is not None
        assert not snapshot._waiting


async def test_tries_are_remembered_for_a_second_and_by_digest(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PAUSE", 0.05)
    setup.upstream.status = 404
    long = {"feature": "\N{ROMAN NUMERAL ONE}" * 2000}
    for _ in range(3):
        await setup.client.get("/api/v1/flags/", params=long, headers={"X-Environment-Key": CLIENT_KEY})
        await asyncio.sleep(0.06)
    await setup.flags()
    tried = setup.documents._cache._tried
    assert len(tried) == 1
    assert max(map(len, tried)) == 32
