"""Which document answers, by the version that is known and the version that is asked for."""

from __future__ import annotations

import asyncio

import pytest

from publisher.messages import now
from stream_server.documents import cache
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Setup, value, version

pytestmark = pytest.mark.asyncio


async def test_current_document_is_fetched_once(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    for _ in range(5):
        assert value(await setup.flags()) == "a"
    assert setup.upstream.asked == ["/api/v1/flags/"]
    assert setup.count("memory") == 4
    assert setup.count("upstream") == 1


async def test_document_of_an_announced_version_is_fetched_at_once(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    assert version(await setup.flags()) == NOW
    setup.upstream.version, setup.upstream.value = NOW + 1, "b"
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    response = await setup.flags()
    assert (value(response), version(response)) == ("b", NOW + 1)


async def test_server_key_follows_its_environment(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    assert version(await setup.flags(key=SERVER_KEY)) == NOW
    setup.upstream.version = NOW + 1
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    assert version(await setup.flags(key=SERVER_KEY)) == NOW + 1
    assert version(await setup.flags(key=SERVER_KEY)) == NOW + 1
    assert len(setup.upstream.asked) == 2


async def test_server_key_is_mapped_by_the_body_of_an_environment_document(setup: Setup) -> None:
    setup.upstream.labelled = False
    setup.versions.advance(CLIENT_KEY, NOW)
    headers = {"X-Environment-Key": SERVER_KEY}
    response = await setup.client.get("/api/v1/environment-document/", headers=headers)
    assert version(response) == NOW
    assert version(await setup.flags(key=SERVER_KEY)) == NOW


async def test_asking_for_a_version_ahead_of_the_feed_fetches(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    setup.upstream.version, setup.upstream.value = NOW + 5, "b"
    response = await setup.flags(f"?v={NOW + 5}")
    assert (value(response), version(response)) == ("b", NOW + 5)
    # Once a newer one was served, an older one never is, although this worker's feed does not know yet.
    assert version(await setup.flags()) == NOW + 5


async def test_lagging_upstream_is_asked_at_most_once_a_second(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    for ahead in range(1, 4):
        setup.versions.advance(CLIENT_KEY, NOW + ahead)
    began = asyncio.get_running_loop().time()
    for _ in range(50):
        response = await setup.flags(f"?v={NOW + 3}")
        assert version(response) == NOW
        assert response.headers["Cache-Control"] == "public, max-age=0, s-maxage=1"
        assert "X-Flagstream-Stale" not in response.headers
    seconds = asyncio.get_running_loop().time() - began
    assert len(setup.upstream.asked) <= 2 + seconds


async def test_growing_versions_in_requests_cannot_drive_the_upstream(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(setup.flags(f"?v={NOW + 1000 + ahead}") for ahead in range(50)))
    seconds = asyncio.get_running_loop().time() - began
    assert {version(answer) for answer in answers} == {NOW}
    assert len(setup.upstream.asked) <= 2 + seconds


async def test_label_of_an_upstream_far_ahead_is_not_believed(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    setup.upstream.version = now() + 1_000_000_000
    assert version(await setup.flags()) == NOW


async def test_flagsmith_header_that_lags_is_lifted_to_what_was_announced(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    setup.upstream.labelled = False
    setup.upstream.headers = {"X-Flagsmith-Document-Updated-At": "1733480514.079725"}
    response = await setup.flags()
    assert version(response) == NOW
    assert response.headers["X-Flagsmith-Document-Updated-At"] == f"{NOW // 1_000_000}.{NOW % 1_000_000:06d}"
    setup.upstream.headers = {"X-Flagsmith-Document-Updated-At": f"{NOW // 1_000_000 + 2}.000001"}
    assert version(await setup.flags(f"?v={NOW + 1}")) == (NOW // 1_000_000 + 2) * 1_000_000 + 1


async def test_environment_that_nobody_announced_is_fetched_again_after_a_second(setup: Setup) -> None:
    assert value(await setup.flags()) == "a"
    setup.upstream.value = "b"

    async def until_it_is_new() -> None:
        while value(await setup.flags()) != "b":
            await asyncio.sleep(0.05)

    await asyncio.wait_for(until_it_is_new(), 30)
    assert len(setup.upstream.asked) == 2


async def test_change_that_was_never_announced_is_found_behind_the_answers(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHECKED_FOR", 0.01)
    setup.versions.advance(CLIENT_KEY, NOW)
    assert value(await setup.flags()) == "a"
    setup.upstream.value = "b"

    async def until_it_is_new() -> None:
        while value(await setup.flags()) != "b":
            await asyncio.sleep(0.05)

    await asyncio.wait_for(until_it_is_new(), 30)
    assert setup.count("upstream") == 1  # every other request was a hit


async def test_key_that_was_deleted_is_found_behind_the_answers(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CHECKED_FOR", 0.01)
    setup.versions.advance(CLIENT_KEY, NOW)
    await setup.flags()
    setup.upstream.status = 401

    async def until_it_is_refused() -> None:
        while (await setup.flags()).status_code != 401:
            await asyncio.sleep(0.05)

    await asyncio.wait_for(until_it_is_refused(), 30)
