"""What goes over the wire: CORS, validators, what caches may keep, and input that makes no sense."""

from __future__ import annotations

import httpx
import pytest

from publisher.messages import now
from tests.documents.upstream import CLIENT_KEY, NOW, Setup, version

pytestmark = pytest.mark.asyncio

PATHS = ("flags", "environment-document", "identities", "analytics/flags")
SDK_HEADERS = ("X-Environment-Key", "Content-Type", "Flagsmith-SDK-User-Agent", "Flagsmith-Application-Version")


def cache_control(response: httpx.Response) -> str:
    return response.headers["Cache-Control"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("slash", ["/", ""])
async def test_preflight_of_the_browser_sdk_is_answered(setup: Setup, path: str, slash: str) -> None:
    response = await setup.client.options(
        f"/api/v1/{path}{slash}",
        headers={"Origin": "https://example.com", "Access-Control-Request-Headers": ", ".join(SDK_HEADERS)},
    )
    assert response.status_code == 204
    allowed = {name.strip().lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert {name.lower() for name in SDK_HEADERS} <= allowed
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert int(response.headers["Access-Control-Max-Age"]) >= 600
    assert setup.upstream.asked == []


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_are_refused(setup: Setup, path: str) -> None:
    response = await setup.client.delete(f"/api/v1/{path}/", headers={"X-Environment-Key": CLIENT_KEY})
    assert response.status_code == 405
    assert response.json()["detail"]
    assert "OPTIONS" in response.headers["Allow"]


async def test_slash_at_the_end_is_not_needed(setup: Setup) -> None:
    response = await setup.client.get("/api/v1/flags", headers={"X-Environment-Key": CLIENT_KEY})
    assert response.status_code == 200
    assert setup.upstream.asked == ["/api/v1/flags/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{}, {"X-Environment-Key": ""}, {"X-Environment-Key": "a.b"}])
async def test_key_that_is_none_is_unauthorized(setup: Setup, path: str, headers: dict[str, str]) -> None:
    method = "POST" if path == "analytics/flags" else "GET"
    response = await setup.client.request(method, f"/api/v1/{path}/?identifier=u", headers=headers)
    assert response.status_code == 401
    assert "X-Environment-Key" in response.json()["detail"]
    assert setup.upstream.asked == []


@pytest.mark.parametrize("v", ["x", "", "-1", "1.5", "9" * 30, "1e9", "²", "400 s ahead"])
async def test_version_that_is_none_is_refused_by_name(setup: Setup, v: str) -> None:
    v = str(now() + 400_000_000) if v == "400 s ahead" else v
    response = await setup.flags(f"?v={v}")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("v ")
    assert setup.upstream.asked == []


async def test_caches_keep_the_version_that_was_asked_for_and_nothing_else(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    assert cache_control(await setup.flags()) == "private, no-cache"
    kept = await setup.flags(f"?v={NOW}")
    assert cache_control(kept) == "public, max-age=86400, immutable"
    assert kept.headers["Vary"] == "X-Environment-Key"
    assert cache_control(await setup.flags(f"?v={NOW + 1}")) == "public, max-age=0, s-maxage=1"
    identity = await setup.client.get(
        f"/api/v1/identities/?identifier=u&v={NOW}", headers={"X-Environment-Key": CLIENT_KEY}
    )
    assert cache_control(identity) == "private, no-store"


async def test_answer_that_only_we_take_for_the_version_asked_for_is_kept_for_a_second(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    setup.upstream.labelled = False
    setup.upstream.headers = {"X-Flagsmith-Document-Updated-At": "1733480514.079725"}
    response = await setup.flags(f"?v={NOW}")
    assert (version(response), cache_control(response)) == (NOW, "public, max-age=0, s-maxage=1")
    # A Flagsmith API whose own header has caught up is believed.
    setup.upstream.headers = {"X-Flagsmith-Document-Updated-At": f"{NOW // 1_000_000 + 1}.000000"}
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    assert cache_control(await setup.flags(f"?v={NOW + 1}")) == "public, max-age=86400, immutable"


async def test_headers_say_which_version_it_is_and_scripts_may_read_them(setup: Setup) -> None:
    response = await setup.flags()
    assert version(response) == NOW
    assert response.headers["X-Flagsmith-Document-Updated-At"] == f"{NOW // 1_000_000}.{NOW % 1_000_000:06d}"
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert {"X-Flagsmith-Document-Updated-At", "X-Flagstream-Version", "X-Flagstream-Stale", "ETag"} <= set(
        exposed.split(", ")
    )
    assert "X-Flagstream-Environment" not in response.headers


async def test_who_has_the_document_is_told_so(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    etag = (await setup.flags()).headers["ETag"]
    for sent in (etag, f'"other", W/{etag}', "*"):
        response = await setup.flags(**{"If-None-Match": sent})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["ETag"] == etag
        assert response.headers["X-Flagstream-Version"] == str(NOW)
    setup.upstream.version = NOW + 1
    setup.versions.advance(CLIENT_KEY, NOW + 1)
    assert (await setup.flags(**{"If-None-Match": etag})).status_code == 200


async def test_parameters_that_select_nothing_do_not_split_the_cache(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)
    for query in ("", "?_=1", "?utm=2&x=%20", f"?cache=3&v={NOW}"):
        assert (await setup.flags(query)).status_code == 200
    assert setup.upstream.asked == ["/api/v1/flags/"]
    await setup.flags("?feature=f&_=1")
    assert setup.upstream.asked[1:] == ["/api/v1/flags/?feature=f"]
