from __future__ import annotations

import pytest

from publisher.dashboard.sessions import Sessions
from tests.publisher.api.serving import ADMIN, SSE, Api, serving, settings_for

BAD = [
    ({}, "send Authorization: Bearer TOKEN"),
    ({"Authorization": ""}, "this token is unknown or revoked"),
    ({"Authorization": "Bearer"}, "this token is unknown or revoked"),
    ({"Authorization": "Bearer wrong"}, "this token is unknown or revoked"),
    ({"Authorization": f"Bearer {ADMIN}x"}, "this token is unknown or revoked"),
    ({"Authorization": f"Basic {ADMIN}"}, "this token is unknown or revoked"),
    ({"Authorization": ADMIN}, "this token is unknown or revoked"),
    ({"Authorization": f"Bearer {SSE}"}, "this token is unknown or revoked"),
    ({"Authorization": "Bearer \xff\xfe"}, "this token is unknown or revoked"),
]


@pytest.mark.asyncio
async def test_nothing_is_open_without_a_token_and_nothing_is_told(api: Api) -> None:
    await api.demo()
    before = await api.everything()
    del api.client.headers["Authorization"]
    secured = [operation for operation in api.app.state.operations if operation.access == "admin"]
    assert len(secured) > 20
    for operation in secured:
        path = operation.path.replace("{project}", "1").replace("{key}", "dev").replace("{name}", "checkout")
        refused = await api(operation.method, path.replace("{token}", "1"), 401, content=b"{")
        assert refused.headers["www-authenticate"] == 'Bearer realm="flagstream"'
        assert refused.headers["content-type"] == "application/problem+json"
    for headers, detail in BAD:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        problem = (await api("POST", "/api/projects", 401, json={"name": "x"}, headers=raw)).json()
        assert (problem["code"], problem["detail"]) == ("unauthorized", detail)
    api.client.headers["Authorization"] = f"Bearer {ADMIN}"
    assert await api.everything() == before


@pytest.mark.asyncio
async def test_a_token_is_shown_once_works_names_the_actor_and_ends_when_it_is_revoked(api: Api) -> None:
    made = (await api("POST", "/api/tokens", 201, json={"name": "ci"})).json()
    own = {"Authorization": f"Bearer {made['token']}"}
    listed = await api("GET", "/api/tokens", 200)
    assert made["token"] not in listed.text
    assert [(each["name"], each["revoked_at"]) for each in listed.json()["items"]] == [("ci", None)]
    await api("POST", "/api/projects", 201, json={"name": "by ci"}, headers=own)
    await api("POST", "/api/projects", 201, json={"name": "by token"}, headers={"Authorization": f"Token {ADMIN}"})
    actors = [each["actor"] for each in (await api("GET", "/api/changes", 200)).json()["items"]]
    assert actors == ["admin", "ci", "admin"]
    await api("DELETE", f"/api/tokens/{made['id']}", 204)
    await api("DELETE", f"/api/tokens/{made['id']}", 204)
    await api("GET", "/api/projects", 401, headers=own)
    assert (await api("GET", "/api/tokens", 200)).json()["items"][0]["revoked_at"] is not None
    # Its name stays taken: the change log means that token by it.
    await api("POST", "/api/tokens", 409, json={"name": "ci"})
    await api("POST", "/api/tokens", 409, json={"name": "admin"})


@pytest.mark.asyncio
async def test_an_empty_admin_token_opens_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('db') / 'f.db'}"
    async with serving(settings_for(url, admin_token="", sse_token="")) as api:
        for value in ("Bearer", "", "Token", "Bearer x"):
            await api("GET", "/api/projects", 401, headers={"Authorization": value})
            path = "/sse/environments/dev/queue-change"
            await api("POST", path, 401, json={"updated_at": 1}, headers={"Authorization": value})


@pytest.mark.asyncio
async def test_a_signed_in_browser_may_read_and_needs_a_header_of_its_own_to_write(api: Api) -> None:
    settings = settings_for(api.store.database.url)
    cookie = await Sessions(api.store, settings).open(ADMIN)
    assert cookie is not None
    port = api.url.rpartition(":")[2]
    del api.client.headers["Authorization"]
    signed_in = {"Cookie": f"flagstream_session_{port}={cookie}"}
    await api("GET", "/api/projects", 200, headers=signed_in)
    problem = (await api("POST", "/api/projects", 403, json={"name": "forged"}, headers=signed_in)).json()
    assert problem["detail"] == "a signed-in browser must send the header X-Flagstream-Dashboard: 1"
    own = {**signed_in, "X-Flagstream-Dashboard": "1"}
    await api("POST", "/api/projects", 201, json={"name": "meant"}, headers=own)
    items = (await api("GET", "/api/changes", 200, headers=signed_in)).json()["items"]
    assert [(item["actor"], item["after"]) for item in items] == [("admin", {"name": "meant"})]
    # A wrong token beside a good cookie is a wrong token.
    await api("GET", "/api/projects", 401, headers={**signed_in, "Authorization": "Bearer wrong"})
