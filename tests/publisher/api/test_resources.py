from __future__ import annotations

import asyncio
import re
from urllib.parse import quote

import pytest
from sqlalchemy import select

from publisher.models import Announcement
from tests.publisher.api.serving import Api


async def versions(api: Api) -> dict[str, int]:
    async with api.store.read() as session:
        rows = await session.execute(select(Announcement.key, Announcement.version))
        return {row.key: row.version for row in rows}


@pytest.mark.asyncio
async def test_projects_are_made_listed_renamed_and_deleted(api: Api) -> None:
    made = await api("POST", "/api/projects", 201, json={"name": "shop"})
    assert made.headers["location"] == "/api/projects/1"
    assert made.json() | {"created_at": 0} == {"id": 1, "name": "shop", "version": 1, "created_at": 0}
    duplicate = (await api("POST", "/api/projects", 409, json={"name": "shop"})).json()
    assert duplicate["errors"] == [
        {"field": "name", "message": "there is a project 'shop' already; choose another name"}
    ]
    await api("POST", "/api/projects", 201, json={"name": "blog"})
    await api("PATCH", "/api/projects/2", 409, json={"name": "shop"})
    await api("PATCH", "/api/projects/1", 412, json={"name": "store"}, headers={"If-Match": '"9"'})
    renamed = await api("PATCH", "/api/projects/1", 200, json={"name": "store", "version": 1})
    assert (renamed.json()["name"], renamed.headers["etag"]) == ("store", '"2"')
    assert [each["name"] for each in (await api("GET", "/api/projects", 200)).json()["items"]] == ["store", "blog"]
    await api("DELETE", "/api/projects/1", 412, headers={"If-Match": '"1"'})
    await api("DELETE", "/api/projects/1", 204, headers={"If-Match": '"2"'})
    await api("GET", "/api/projects/1", 404)
    # Ids are not used again: who remembers one must not meet another project.
    assert (await api("POST", "/api/projects", 201, json={"name": "new"})).json()["id"] == 3


@pytest.mark.asyncio
async def test_an_environment_has_two_keys_and_is_announced_when_it_is_made(api: Api) -> None:
    project = await api.project()
    made = (await api("POST", f"/api/projects/{project}/environments", 201, json={"name": "dev"})).json()
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", made["key"])
    assert re.fullmatch(r"ser\.[A-Za-z0-9_-]{22}", made["server_key"])
    assert made["pushed"] is False
    assert set(await versions(api)) == {made["key"]}
    own = await api.environment(project, "my-Key_1")
    assert own["key"] == "my-Key_1"
    path = f"/api/projects/{project}/environments"
    assert (await api("POST", path, 409, json={"name": "my-Key_1"})).json()["errors"][0]["field"] == "name"
    taken = (await api("POST", path, 409, json={"name": "other", "key": "my-Key_1"})).json()
    assert taken["errors"][0]["field"] == "key"
    before = await versions(api)
    renamed = await api("PATCH", "/api/environments/my-Key_1", 200, json={"name": "Staging", "version": 1})
    assert (renamed.json()["name"], renamed.json()["version"]) == ("Staging", 2)
    assert await versions(api) == before
    await api("POST", "/api/projects/99/environments", 404, json={"name": "x"})


@pytest.mark.asyncio
async def test_a_new_environment_gets_the_initial_state_of_every_feature(api: Api) -> None:
    project = await api.demo("dev")
    await api("PATCH", "/api/environments/dev/features/checkout", 200, json={"value": "changed"})
    await api.environment(project, "live")
    state = (await api("GET", "/api/environments/live/features/checkout", 200)).json()
    assert (state["enabled"], state["value"], state["version"]) == (True, "a", 1)


@pytest.mark.asyncio
async def test_making_renaming_and_deleting_a_feature_announces_every_environment(api: Api) -> None:
    project = await api.demo("dev", "live")
    other = await api.project("other")
    await api.environment(other, "elsewhere")
    before = await versions(api)

    async def announced() -> set[str]:
        nonlocal before
        after = await versions(api)
        moved = {key for key in after if after[key] > before[key]}
        before = after
        return moved

    await api.feature(project, "search", value={"k": [1]}, description="two\nlines")
    assert await announced() == {"dev", "live"}
    path = f"/api/projects/{project}/features"
    assert (await api("POST", path, 409, json={"name": "search"})).json()["errors"][0]["field"] == "name"
    await api("PATCH", f"{path}/search", 409, json={"name": "checkout"})
    assert await announced() == set()
    described = (await api("PATCH", f"{path}/search", 200, json={"description": "x"})).json()
    assert (described["description"], described["version"]) == ("x", 2)
    assert await announced() == set()
    renamed = await api("PATCH", f"{path}/search", 200, json={"name": "find", "version": 2})
    assert (renamed.json()["name"], renamed.headers["etag"]) == ("find", '"3"')
    assert await announced() == {"dev", "live"}
    await api("GET", "/api/environments/dev/features/search", 404)
    assert (await api("GET", "/api/environments/dev/features/find", 200)).json()["value"] == {"k": [1]}
    await api("PATCH", f"{path}/find", 200, json={"name": "find"})
    assert await announced() == set()
    await api("DELETE", f"{path}/find", 412, headers={"If-Match": '"1"'})
    await api("DELETE", f"{path}/find", 204)
    assert await announced() == {"dev", "live"}
    await api("GET", "/api/environments/live/features/find", 404)
    # The same name again is another feature, with an id of its own.
    assert (await api.feature(project, "find"))["id"] > renamed.json()["id"]


@pytest.mark.asyncio
async def test_the_documents_of_what_was_deleted_answer_401_and_versions_do_not_go_back(api: Api) -> None:
    project = await api.demo("dev", "live")
    before = await versions(api)
    await api("DELETE", "/api/environments/dev", 204)
    await api("GET", "/api/v1/flags/", 401, headers={"X-Environment-Key": "dev"})
    await api("GET", "/api/v1/flags/", 200, headers={"X-Environment-Key": "live"})
    await api("DELETE", f"/api/projects/{project}", 204)
    await api("GET", "/api/v1/flags/", 401, headers={"X-Environment-Key": "live"})
    after = await versions(api)
    assert all(after[key] > before[key] for key in ("dev", "live"))
    again = await api.project("again")
    await api.environment(again, "dev")
    assert (await versions(api))["dev"] > after["dev"]
    assert (await api("GET", "/api/v1/flags/", 200, headers={"X-Environment-Key": "dev"})).json() == []


@pytest.mark.asyncio
async def test_names_may_be_awkward_and_are_still_one_part_of_a_path(api: Api) -> None:
    project = await api.project()
    await api.environment(project, "dev")
    for name in ("a b", "ünï-☃", "100%", "q?x=1", "h#h", "a+b", "a\\b", "<b>&amp;'\"", "x" * 100):
        await api.feature(project, name)
        path = f"/api/environments/dev/features/{quote(name, safe='')}"
        assert (await api("PATCH", path, 200, json={"enabled": True})).json()["feature"] == name
        await api("DELETE", f"/api/projects/{project}/features/{quote(name, safe='')}", 204)


@pytest.mark.asyncio
async def test_of_many_who_make_the_same_thing_at_once_one_succeeds(api: Api) -> None:
    project = await api.demo()
    for path, body in (
        ("/api/projects", {"name": "same"}),
        (f"/api/projects/{project}/features", {"name": "same"}),
        (f"/api/projects/{project}/environments", {"name": "same", "key": "same"}),
        ("/api/tokens", {"name": "same"}),
    ):
        answers = await asyncio.gather(*(api.client.post(path, json=body) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]


@pytest.mark.asyncio
async def test_everybody_changing_everything_at_once_ends_without_a_deadlock(api: Api) -> None:
    project = await api.demo("dev", "live")
    other = await api.project("other")
    calls = []
    for number in range(6):
        calls += [
            api.client.post(f"/api/projects/{project}/features", json={"name": f"f{number}"}),
            api.client.patch("/api/environments/dev/features/checkout", json={"value": number}),
            api.client.patch("/api/environments/live/features/checkout", json={"value": number}),
            api.client.post(f"/api/projects/{project}/environments", json={"name": f"e{number}", "key": f"e{number}"}),
            api.client.patch(f"/api/projects/{project}/features/checkout", json={"description": f"{number}"}),
            api.client.patch("/api/environments/live", json={"name": f"live {number}"}),
            api.client.post(
                "/sse/environments/live/queue-change",
                json={"updated_at": 1_700_000_000 + number},
                headers={"Authorization": "Token sse-token-of-a-test"},
            ),
        ]
    calls.append(api.client.delete(f"/api/projects/{other}"))
    answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} <= {200, 201, 204}
    # Every feature has a state in every environment, whichever came first.
    for number in range(6):
        states = (await api("GET", f"/api/environments/e{number}/features", 200)).json()["items"]
        assert len(states) == 7


@pytest.mark.asyncio
async def test_lists_go_on_where_they_stopped(api: Api) -> None:
    for number in range(7):
        await api.project(f"p{number}")
    seen: list[str] = []
    path: str | None = "/api/projects?limit=3"
    pages = 0
    while path:
        page = (await api("GET", path, 200)).json()
        seen += [each["name"] for each in page["items"]]
        path, pages = page["next"], pages + 1
    assert seen == [f"p{number}" for number in range(7)]
    assert pages == 3
