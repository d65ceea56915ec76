from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from publisher import messages, states
from publisher.models import Announcement, Change
from tests.publisher.api.serving import Api

PATH = "/api/environments/dev/features/checkout"


async def counts(api: Api) -> tuple[int, int]:
    """Return the number of lines in the change log and the version of `dev`."""
    async with api.store.read() as session:
        lines = (await session.execute(select(func.count()).select_from(Change))).scalar_one()
        version = (await session.execute(select(Announcement.version).where(Announcement.key == "dev"))).scalar_one()
    return lines, version


@pytest.mark.asyncio
async def test_patch_answers_the_new_state_and_the_number_of_its_event(api: Api) -> None:
    await api.demo()
    response = await api("PATCH", PATH, 200, json={"enabled": False, "value": "b"})
    lines, version = await counts(api)
    assert response.json() == {
        "environment": "dev",
        "feature": "checkout",
        "enabled": False,
        "value": "b",
        "version": 2,
        "updated_at": messages.wire_seconds(version),
    }
    # The very digits of the event, not just the same double.
    assert f'"updated_at":{messages.wire_number(version)}' in response.text
    assert response.headers["etag"] == '"2"'
    again = await api("GET", PATH, 200)
    assert again.json() == response.json()
    assert again.headers["etag"] == '"2"'
    assert lines == 4


@pytest.mark.asyncio
async def test_a_field_that_is_not_given_stays(api: Api) -> None:
    await api.demo()
    assert (await api("PATCH", PATH, 200, json={"value": 7})).json()["enabled"] is True
    assert (await api("PATCH", PATH, 200, json={"enabled": False})).json()["value"] == 7
    assert (await api("PATCH", PATH, 200, json={"value": None})).json()["value"] is None


VALUES: list[Any] = [
    *("", "text", "ünïcode 🚀", "\x00 and \x1f", "x" * 19_998),
    *(0, -1, 2**53 - 1, 1.5, 1e-300, True, False, None),
    *([], {}, {"a": [1, {"b": None}]}),
]


@pytest.mark.asyncio
async def test_every_json_value_comes_back_as_it_was_sent(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    for value in VALUES:
        got = (await sqlite_api("PATCH", PATH, 200, json={"value": value})).json()["value"]
        assert (got, type(got)) == (value, type(value))
        assert (await sqlite_api("GET", PATH, 200)).json()["value"] == value


@pytest.mark.asyncio
async def test_values_with_any_character_reach_either_database(api: Api) -> None:
    await api.demo()
    value = {"nul": "\x00", "astral": "🚀", "quote": "'\"\\", "line": "\u2028"}
    await api("PATCH", PATH, 200, json={"value": value})
    assert (await api("GET", PATH, 200)).json()["value"] == value
    assert (await api("GET", "/api/changes?limit=1", 200)).json()["items"][0]["after"]["value"] == value


@pytest.mark.asyncio
async def test_a_change_that_changes_nothing_writes_nothing_and_announces_nothing(api: Api) -> None:
    await api.demo()
    before = await counts(api)
    for body in ({"enabled": True}, {"value": "a"}, {"enabled": True, "value": "a", "version": 1}):
        assert (await api("PATCH", PATH, 200, json=body)).json()["version"] == 1
    assert await counts(api) == before
    # 1 and true, 1 and 1.0 are not the same value.
    assert (await api("PATCH", PATH, 200, json={"value": 1})).json()["version"] == 2
    assert (await api("PATCH", PATH, 200, json={"value": True})).json()["version"] == 3
    assert (await api("PATCH", PATH, 200, json={"value": 1.0})).json()["version"] == 4


@pytest.mark.asyncio
async def test_a_stale_if_match_is_412_and_a_stale_version_409(api: Api) -> None:
    await api.demo()
    await api("PATCH", PATH, 200, json={"value": "b"}, headers={"If-Match": '"1"'})
    before = await api.everything()
    stale = await api("PATCH", PATH, 412, json={"value": "c"}, headers={"If-Match": '"1"'})
    assert stale.json() == {
        "type": "/api/docs#stale",
        "title": "Precondition Failed",
        "status": 412,
        "detail": "If-Match is not the current version, which is 2; read it again and repeat the change",
        "code": "stale",
        "current": 2,
    }
    assert stale.headers["content-type"] == "application/problem+json"
    stale = await api("PATCH", PATH, 409, json={"value": "c", "version": 1})
    assert stale.json()["code"] == "stale-version"
    assert stale.json()["current"] == 2
    for tag in ('W/"2"', '"two"', '""', '"99999999999999999999"'):
        await api("PATCH", PATH, 412, json={"value": "c"}, headers={"If-Match": tag})
    # A change that would change nothing is refused all the same: its sender saw something else.
    await api("PATCH", PATH, 409, json={"value": "b", "version": 1})
    assert await api.everything() == before
    for headers in ({"If-Match": "*"}, {"If-Match": '"1", "3"'}, {}):
        await api("PATCH", PATH, 200, json={"enabled": "1" in str(headers)}, headers=headers)


@pytest.mark.asyncio
async def test_concurrent_changes_with_the_same_version_let_exactly_one_through(api: Api) -> None:
    await api.demo()
    bodies = [{"value": number, "version": 1} for number in range(12)]
    answers = await asyncio.gather(*(api.client.patch(PATH, json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await api("GET", PATH, 200)).json() == winner


@pytest.mark.asyncio
async def test_concurrent_changes_of_one_environment_get_versions_in_the_order_of_their_commits(api: Api) -> None:
    project = await api.demo()
    await api.feature(project, "other")
    paths = [PATH, PATH.replace("checkout", "other")]
    answers = await asyncio.gather(
        *(api.client.patch(paths[number % 2], json={"value": number}) for number in range(40))
    )
    assert {answer.status_code for answer in answers} == {200}
    versions = [answer.json()["updated_at"] for answer in answers]
    assert len(set(versions)) == 40
    lines = (await api("GET", "/api/changes?action=state.changed", 200)).json()["items"]
    assert len(lines) == 40
    # What was written last in the log of one feature is what it is now, and has its newest version.
    for path in paths:
        state = (await api("GET", path, 200)).json()
        last = next(line for line in lines if line["feature"] == state["feature"])
        assert last["after"]["value"] == state["value"]
        newest = max(line["updated_at"] for line in lines if line["feature"] == state["feature"])
        assert state["updated_at"] == last["updated_at"] == newest


@pytest.mark.asyncio
async def test_states_are_listed_in_pages(api: Api) -> None:
    project = await api.demo()
    for number in range(5):
        await api.feature(project, f"f{number}", value=number)
    seen: list[str] = []
    path: str | None = "/api/environments/dev/features?limit=2"
    while path:
        page = await api("GET", path, 200)
        seen += [item["feature"] for item in page.json()["items"]]
        path = page.json()["next"]
        assert ("link" in page.headers) == (path is not None)
    assert seen == ["checkout", "f0", "f1", "f2", "f3", "f4"]


@pytest.mark.asyncio
async def test_an_etag_that_is_still_right_answers_304(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    fresh = await sqlite_api("GET", PATH, 304, headers={"If-None-Match": '"1"'})
    assert fresh.content == b""
    await sqlite_api("GET", PATH, 200, headers={"If-None-Match": '"0"'})


@pytest.mark.asyncio
async def test_nothing_is_left_of_a_transaction_that_fails_at_its_end(api: Api) -> None:
    await api.demo()
    before = await counts(api)

    async def fail_at_the_end() -> None:
        async with api.store.change("somebody") as change:
            await states.set_state(change, "dev", "checkout", value="lost")
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await fail_at_the_end()
    assert await counts(api) == before
    assert (await api("GET", PATH, 200)).json()["value"] == "a"
