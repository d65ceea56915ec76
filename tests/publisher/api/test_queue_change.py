from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from publisher.models import Announcement
from tests.publisher.api.serving import ADMIN, SSE, Api

PATH = "/sse/environments/foreign-key/queue-change"
AUTH = {"Authorization": f"Token {SSE}"}


async def stored(api: Api) -> dict[str, int]:
    async with api.store.read() as session:
        rows = await session.execute(select(Announcement.key, Announcement.version))
        return {row.key: row.version for row in rows}


@pytest.mark.asyncio
async def test_a_newer_time_is_202_and_stored_an_older_one_or_the_same_200_and_not(api: Api) -> None:
    body: dict[str, Any] = {"updated_at": "2026-11-21T00:35:06.250875+00:00"}
    version = 1795221306250875
    first = await api("POST", PATH, 202, json=body, headers=AUTH)
    assert first.json() == {"environment": "foreign-key", "updated_at": 1795221306.250875, "advanced": True}
    assert await stored(api) == {"foreign-key": version}
    same = await api("POST", PATH, 200, json=body, headers=AUTH)
    assert same.json()["advanced"] is False
    await api("POST", PATH, 200, json={"updated_at": 1.5}, headers=AUTH)
    assert await stored(api) == {"foreign-key": version}
    await api("POST", PATH, 202, json={"updated_at": "2026-11-21T00:35:06.250876"}, headers=AUTH)
    assert await stored(api) == {"foreign-key": version + 1}


@pytest.mark.asyncio
async def test_it_takes_what_flagsmith_may_send(sqlite_api: Api) -> None:
    now = datetime.now(UTC)
    forms: list[Any] = [
        now.isoformat(),
        now.replace(tzinfo=None).isoformat(),
        now.isoformat().replace("+00:00", "Z"),
        now.isoformat().replace("T", " "),
        now.timestamp(),
        int(now.timestamp()),
        now.timestamp() + 290,
    ]
    paths = [
        "/sse/environments/{}/queue-change",
        "/sse/environments/{}/queue-change/",
        "//sse/environments/{}/queue-change",
    ]
    for number, form in enumerate(forms):
        for each, path in enumerate(paths):
            body = {"updated_at": form, "other": {"field": 1}}
            await sqlite_api("POST", sqlite_api.url + path.format(f"k{number}-{each}"), 202, json=body, headers=AUTH)
    content = b'{"updated_at": 1.5}'
    await sqlite_api("POST", PATH, 202, content=content, headers={**AUTH, "Content-Type": "text/plain"})
    await sqlite_api("POST", PATH, 200, content=content, headers={"Authorization": f"Bearer {SSE}"})


BAD: list[tuple[Any, str]] = [
    (b"", "the body is empty"),
    (b"{", "the body is not JSON"),
    (b"[]", "updated_at: must be given"),
    (b"{}", "updated_at: must be given"),
    (b'{"updated_at": null}', "must be an ISO 8601 time or a number of Unix seconds"),
    (b'{"updated_at": true}', "must be an ISO 8601 time or a number of Unix seconds"),
    (b'{"updated_at": [1]}', "must be an ISO 8601 time or a number of Unix seconds"),
    (b'{"updated_at": "soon"}', "is not an ISO 8601 time"),
    (b'{"updated_at": "2026-11-21"}', "is not an ISO 8601 time"),
    (b'{"updated_at": "\\ud800T"}', "is not an ISO 8601 time"),
    (b'{"updated_at": "0001-01-01T00:00:00+14:00"}', "must be after 1970-01-01"),
    (b'{"updated_at": "9999-12-31T23:59:59-14:00"}', "is more than 300 s ahead of the clock here"),
    (b'{"updated_at": NaN}', "NaN is not a JSON number"),
    (b'{"updated_at": 1e999}', "is too large"),
    (b'{"updated_at": 1e300}', "is more than 300 s ahead of the clock here"),
    (b'{"updated_at": 0}', "must be after 1970-01-01"),
    (b'{"updated_at": -5.5}', "must be after 1970-01-01"),
]


def bad_now() -> list[tuple[Any, str]]:
    """Return what is wrong by the clock of the test itself: this file may have been read long before."""
    now = time.time()
    return [
        (f'{{"updated_at": {now + 900}}}'.encode(), "is more than 300 s ahead of the clock here"),
        (f'{{"updated_at": {now * 1e3}}}'.encode(), "looks like milliseconds; send Unix seconds"),
        (f'{{"updated_at": {int(now * 1e3)}}}'.encode(), "looks like milliseconds; send Unix seconds"),
        (f'{{"updated_at": {int(now * 1e6)}}}'.encode(), "looks like microseconds; send Unix seconds"),
        (f'{{"updated_at": {int(now * 1e9)}}}'.encode(), "looks like nanoseconds; send Unix seconds"),
    ]


@pytest.mark.asyncio
async def test_what_is_no_time_is_a_400_that_says_why_and_is_not_stored(sqlite_api: Api) -> None:
    for content, detail in [*BAD, *bad_now()]:
        refused = await sqlite_api("POST", PATH, 400, content=content, headers=AUTH)
        assert refused.json().keys() == {"detail"}
        assert detail in refused.json()["detail"], content
    for key in ("a.b", "k" * 129, "%00", "schl%C3%BCssel", "%20"):
        path = f"/sse/environments/{key}/queue-change"
        refused = await sqlite_api("POST", path, 400, json={"updated_at": 1.5}, headers=AUTH)
        assert "1 to 128 letters, digits, '-' or '_'" in refused.json()["detail"]
    assert await stored(sqlite_api) == {}


@pytest.mark.asyncio
async def test_only_the_sse_token_opens_it(sqlite_api: Api) -> None:
    for header in (None, "Token wrong", f"Token {ADMIN}", SSE, f"Basic {SSE}"):
        headers = {} if header is None else {"Authorization": header}
        sqlite_api.client.headers.pop("Authorization", None)
        refused = await sqlite_api("POST", PATH, 401, json={"updated_at": 1.5}, headers=headers)
        assert refused.json() == {"detail": "send Authorization: Token SSE_TOKEN, with the publisher's sse_token"}
        assert "www-authenticate" in refused.headers
    assert await stored(sqlite_api) == {}


@pytest.mark.asyncio
async def test_a_thousand_calls_at_once_share_transactions_and_all_are_stored(api: Api) -> None:
    begun = time.time() - 5000
    committed = 0

    host, _, port = api.url.removeprefix("http://").partition(":")

    async def call(number: int) -> int:
        # A connection each, by hand: a thousand in one client wait for the client.
        nonlocal committed
        reader, writer = await asyncio.open_connection(host, int(port))
        # Some come before older ones, so that many are older than what is stored.
        body = json.dumps({"updated_at": round(begun + (number * 7919) % 1000, 3)})
        head = f"POST /sse/environments/k{number % 50}/queue-change HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        writer.write(f"{head}Authorization: Token {SSE}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        status = int((await reader.read()).split()[1])
        writer.close()
        await writer.wait_closed()
        committed += status == 202
        return status

    writes: list[float] = []
    api.store._on_write = writes.append
    statuses = await asyncio.gather(*(call(number) for number in range(1000)))
    assert set(statuses) <= {200, 202}
    found = await stored(api)
    newest: dict[str, float] = {}
    for number in range(1000):
        key = f"k{number % 50}"
        newest[key] = max(newest.get(key, 0), round(begun + (number * 7919) % 1000, 3))
    assert {key: round(version / 1e6, 3) for key, version in found.items()} == newest
    assert len(writes) < committed
    assert len(writes) < 250


@pytest.mark.asyncio
async def test_a_foreign_version_and_our_own_changes_share_one_line_of_versions(api: Api) -> None:
    await api.demo()
    ahead = time.time() + 200
    await api("POST", "/sse/environments/dev/queue-change", 202, json={"updated_at": ahead}, headers=AUTH)
    own = (await api("PATCH", "/api/environments/dev/features/checkout", 200, json={"value": 1})).json()
    assert own["updated_at"] > ahead
