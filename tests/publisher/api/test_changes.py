from __future__ import annotations

import time

import pytest

from publisher import changes
from publisher.dashboard.log_lines import DONE
from tests.publisher.api.serving import Api


@pytest.mark.asyncio
async def test_every_change_leaves_a_line_that_says_who_what_and_from_what_to_what(api: Api) -> None:
    project = await api.demo()
    await api("PATCH", "/api/environments/dev/features/checkout", 200, json={"value": {"x": 1}})
    await api("PATCH", f"/api/projects/{project}/features/checkout", 200, json={"name": "pay"})
    await api("DELETE", "/api/environments/dev", 204)
    lines = (await api("GET", "/api/changes", 200)).json()["items"]
    assert [line["action"] for line in lines] == [
        "environment.deleted",
        "feature.renamed",
        "state.changed",
        "feature.created",
        "environment.created",
        "project.created",
    ]
    changed = lines[2]
    assert {
        "actor": "admin",
        "project": "shop",
        "environment": "dev",
        "environment_key": "dev",
        "feature": "checkout",
        "before": {"enabled": True, "value": "a"},
        "after": {"enabled": True, "value": {"x": 1}},
        "pushed_at": None,
    }.items() <= changed.items()
    assert abs(changed["at"] - time.time()) < 60
    # Lines outlive what they are about.
    assert lines[0]["updated_at"] > changed["updated_at"]


@pytest.mark.asyncio
async def test_the_change_log_is_filtered_and_goes_on(api: Api) -> None:
    await api.demo("dev", "live")
    middle = time.time()
    for number in range(4):
        key = ("dev", "live")[number % 2]
        await api("PATCH", f"/api/environments/{key}/features/checkout", 200, json={"value": number})

    async def found(query: str) -> list[str]:
        items = (await api("GET", f"/api/changes?{query}", 200)).json()["items"]
        return [item["action"] for item in items]

    assert await found("action=state.changed&environment=dev") == ["state.changed"] * 2
    assert await found("feature=checkout&actor=admin&project=shop&environment=live") == [
        *["state.changed"] * 2,
        "feature.created",
    ]
    assert await found("project=nope") == []
    assert await found("actor=nobody") == []
    assert len(await found(f"since={middle}")) == 4
    assert len(await found(f"until={middle}")) == 5
    assert await found("since=2001-01-01T00:00:00%2B00:00&until=2001-01-02T00:00:00Z") == []
    assert "project.created" not in await found("pushed=false")
    assert len(await found("pushed=false")) == 8
    assert await found("pushed=true") == []
    seen = []
    path: str | None = "/api/changes?limit=4&actor=admin"
    while path:
        page = (await api("GET", path, 200)).json()
        seen += [item["id"] for item in page["items"]]
        path = page["next"]
    assert len(seen) == 9
    assert seen == sorted(seen, reverse=True)


@pytest.mark.asyncio
async def test_grafana_gets_annotations_in_milliseconds(api: Api) -> None:
    await api.demo()
    await api("PATCH", "/api/environments/dev/features/checkout", 200, json={"enabled": False})
    now = int(time.time() * 1000)
    items = (await api("GET", f"/api/annotations?from={now - 60_000}&to={now + 60_000}", 200)).json()
    last = items[-1]
    assert last["title"] == "state.changed checkout"
    assert last["text"] == (
        'shop / dev / checkout: {"enabled":true,"value":"a"} → {"enabled":false,"value":"a"}, by admin'
    )
    assert last["tags"] == ["flagstream", "state.changed", "shop", "dev", "checkout"]
    assert isinstance(last["time"], int)
    assert "timeEnd" not in last
    assert [item["time"] for item in items] == sorted(item["time"] for item in items)
    assert (await api("GET", f"/api/annotations?from=0&to={now - 60_000}", 200)).json() == []
    only = await api("GET", f"/api/annotations?from=0&to={now + 1000}&environment=other", 200)
    assert only.json() == []


@pytest.mark.asyncio
async def test_the_filter_and_the_words_of_the_page_know_every_action_there_is(sqlite_api: Api) -> None:
    assert set(DONE) == set(changes.ACTIONS)
    for action in changes.ACTIONS:
        await sqlite_api("GET", f"/api/changes?action={action}", 200)
