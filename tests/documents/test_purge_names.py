"""The names by which an edge purges documents: on every answer that it may keep, and only behind one."""

from __future__ import annotations

import httpx
import pytest

from publisher.messages import surrogate_key
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Upstream, documents, is_stale

pytestmark = pytest.mark.asyncio

NAME = surrogate_key("document", CLIENT_KEY)


def name(response: httpx.Response) -> str | None:
    found: str | None = response.headers.get("Surrogate-Key")
    return found


@pytest.mark.parametrize(
    "path",
    ["flags/", "environment-document/", f"flags/?v={NOW}", f"environment-document/?v={NOW}"],
    ids=["flags", "document", "flags of a version", "document of a version"],
)
@pytest.mark.parametrize("key", [CLIENT_KEY, SERVER_KEY])
async def test_document_is_named_by_the_client_side_key_whichever_key_it_was_asked_with(
    upstream: Upstream, path: str, key: str
) -> None:
    async with documents(upstream, edge=True) as setup:
        headers = {"X-Environment-Key": key}
        for _ in ("fetched", "from memory"):
            answer = await setup.client.get(f"/api/v1/{path}", headers=headers)
            assert (answer.status_code, name(answer)) == (200, NAME)
        unchanged = {**headers, "If-None-Match": answer.headers["ETag"]}
        answer = await setup.client.get(f"/api/v1/{path}", headers=unchanged)
        assert (answer.status_code, name(answer)) == (304, NAME)


async def test_stale_document_and_error_are_named_too(upstream: Upstream) -> None:
    async with documents(upstream, edge=True) as setup:
        assert name(await setup.flags(key=SERVER_KEY)) == NAME
        upstream.status = 503
        setup.versions.advance(CLIENT_KEY, NOW + 1)
        stale = await setup.flags(key=SERVER_KEY)
        assert is_stale(stale)
        assert name(stale) == NAME
        for key in (CLIENT_KEY, SERVER_KEY):
            failed = await setup.client.get(
                f"/api/v1/environment-document/?v={NOW}", headers={"X-Environment-Key": key}
            )
            assert (failed.status_code, name(failed)) == (502, NAME)
        upstream.status = 401
        refused = await setup.flags(f"?v={NOW}", key="another-key")
        assert (refused.status_code, name(refused)) == (401, surrogate_key("document", "another-key"))


async def test_error_of_no_environment_that_is_known_has_no_name(upstream: Upstream) -> None:
    upstream.status = 401
    async with documents(upstream, edge=True) as setup:
        for key in ("ser.nobody-knows", "no.key", ""):
            refused = await setup.flags(f"?v={NOW}", key=key)
            assert (refused.status_code, name(refused)) == (401, None)


async def test_answers_for_one_person_have_no_name(upstream: Upstream) -> None:
    async with documents(upstream, edge=True) as setup:
        headers = {"X-Environment-Key": CLIENT_KEY}
        for query in ("?identifier=u", ""):
            assert name(await setup.client.get(f"/api/v1/identities/{query}", headers=headers)) is None
        posted = await setup.client.post("/api/v1/identities/", headers=headers, json={"identifier": "u"})
        assert (posted.status_code, name(posted)) == (200, None)


async def test_nothing_is_named_without_an_edge(upstream: Upstream) -> None:
    async with documents(upstream, edge=False) as setup:
        assert name(await setup.flags()) is None
        upstream.status = 401
        assert name(await setup.flags(f"?v={NOW}", key="another-key")) is None
