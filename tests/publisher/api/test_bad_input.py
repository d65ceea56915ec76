"""Bad input: each a clear 4xx that names the field, nothing changed, no traceback (the fixture looks for those)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.publisher.api.serving import Api

STATE = "/api/environments/dev/features/checkout"
HEAD = f"PATCH {STATE} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer admin-token-of-a-test\r\n"
JSON = {"Content-Type": "application/json"}

# Each line: method, path, body; the field that is named, what is said of it.
FIELDS: list[tuple[str, str, Any, str, str]] = [
    ("PATCH", STATE, {"enabled": "yes"}, "enabled", "must be true or false"),
    ("PATCH", STATE, {"enabled": 1}, "enabled", "must be true or false"),
    ("PATCH", STATE, {"enabled": None}, "enabled", "must be true or false"),
    ("PATCH", STATE, {"enable": True}, "enable", "is not known here; known are enabled, value, version"),
    ("PATCH", STATE, {}, "body", "give enabled or value, or both"),
    ("PATCH", STATE, {"version": 1}, "body", "give enabled or value, or both"),
    ("PATCH", STATE, {"value": 1, "version": "1"}, "version", "must be an integer"),
    ("PATCH", STATE, {"value": 1, "version": 1.5}, "version", "must be an integer"),
    ("PATCH", STATE, {"value": 1, "version": True}, "version", "must be an integer"),
    ("PATCH", STATE, {"value": 1, "version": -1}, "version", "must be at least 0"),
    ("PATCH", STATE, {"value": 1, "version": 2**31}, "version", "must be at most 2147483647"),
    ("PATCH", STATE, {"value": "x" * 19_999}, "value", "must be at most 20,000 characters as JSON; it has 20,001"),
    (
        "PATCH",
        STATE,
        {"value": 2**53},
        "value",
        "integers must be within ±9007199254740991; send a larger one as a string",
    ),
    ("PATCH", STATE, {"value": [{"a": "\ud800"}]}, "value", "must not contain half of a surrogate pair"),
    ("PATCH", STATE, {"value": {"\udfff": 1}}, "value", "must not contain half of a surrogate pair"),
    ("PATCH", STATE, [], "body", "the body must be a JSON object"),
    ("PATCH", STATE, None, "body", "the body must be a JSON object"),
    ("PATCH", STATE, "text", "body", "the body must be a JSON object"),
    ("POST", "/api/projects", {}, "name", "must be given"),
    ("POST", "/api/projects", {"name": 1}, "name", "must be a string"),
    ("POST", "/api/projects", {"name": ""}, "name", "must not be empty"),
    ("POST", "/api/projects", {"name": " "}, "name", "must not begin or end with a space"),
    ("POST", "/api/projects", {"name": "x" * 101}, "name", "must be at most 100 characters; it has 101"),
    ("POST", "/api/projects", {"name": "a\x00b"}, "name", "must not contain the control character U+0000"),
    ("POST", "/api/projects", {"name": "a\nb"}, "name", "must not contain the control character U+000A"),
    ("POST", "/api/projects", {"name": "a\x7fb"}, "name", "must not contain the control character U+007F"),
    ("POST", "/api/projects", {"name": "a\ud83d"}, "name", "must not contain half of a surrogate pair"),
    ("PATCH", "/api/projects/1", {"name": "x" * 101}, "name", "must be at most 100 characters; it has 101"),
    ("POST", "/api/projects/1/environments", {"name": "e", "key": "a.b"}, "key", "it has a dot"),
    ("POST", "/api/projects/1/environments", {"name": "e", "key": "k" * 129}, "key", "it has 129 characters"),
    ("POST", "/api/projects/1/environments", {"name": "e", "key": ""}, "key", "must be 1 to 128 letters"),
    ("POST", "/api/projects/1/environments", {"name": "e", "key": "ключ"}, "key", "must be 1 to 128 letters"),
    ("POST", "/api/projects/1/environments", {"name": "e", "key": "a\n"}, "key", "must be 1 to 128 letters"),
    ("POST", "/api/projects/1/environments", {"name": "e", "server_key": "x"}, "server_key", "is not known here"),
    ("POST", "/api/projects/1/features", {"name": "a/b"}, "name", "must not contain '/'"),
    ("POST", "/api/projects/1/features", {"name": ".."}, "name", "must not contain '/'"),
    ("POST", "/api/projects/1/features", {"name": "f", "value": 2**60}, "value", "integers must be within"),
    (
        "POST",
        "/api/projects/1/features",
        {"name": "f", "description": "x" * 2001},
        "description",
        "must be at most 2000",
    ),
    ("POST", "/api/projects/1/features", {"name": "f", "description": "\x00"}, "description", "U+0000"),
    ("PATCH", "/api/projects/1/features/checkout", {"version": 1}, "body", "give name or description, or both"),
    ("POST", "/api/tokens", {"name": "x" * 101}, "name", "must be at most 100 characters; it has 101"),
    ("POST", "/api/tokens", {"name": "ci", "token": "mine"}, "token", "is not known here; known are name"),
]


@pytest.mark.asyncio
async def test_each_bad_field_is_named_with_what_to_do_and_nothing_changes(api: Api) -> None:
    await api.demo()
    before = await api.everything()
    for method, path, body, field, message in FIELDS:
        content = json.dumps(body).encode()  # escapes, so half pairs survive the way
        response = await api(method, path, 422, content=content, headers=JSON)
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert (problem["code"], problem["status"], problem["title"]) == ("invalid", 422, "Unprocessable Entity")
        assert problem["errors"][0]["field"] == field, (method, path, body, problem)
        assert message in problem["errors"][0]["message"]
    assert await api.everything() == before


@pytest.mark.asyncio
async def test_all_faults_of_a_body_are_told_at_once(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    body = {"enabled": "on", "version": "1", "colour": "red"}
    errors = (await sqlite_api("PATCH", STATE, 422, json=body)).json()["errors"]
    assert {error["field"] for error in errors} == {"enabled", "version", "colour"}


RAW: list[tuple[bytes, str]] = [
    (b"", "the body is empty; send a JSON object"),
    (b"  \n ", "the body is empty; send a JSON object"),
    (b'{"enabled": tru}', "the body is not JSON: Expecting value at line 1 column 13"),
    (b'{"enabled": true,\n "value": }', "the body is not JSON: Expecting value at line 2 column 11"),
    (b'{"enabled": true} x', "the body is not JSON: Extra data at line 1 column 19"),
    (b'{"value": NaN}', "the body is not JSON: NaN is not a JSON number"),
    (b'{"value": -Infinity}', "the body is not JSON: -Infinity is not a JSON number"),
    (b'{"value": 1e999}', "the number 1e999 is too large"),
    (b'{"value": ' + b"9" * 5000 + b"}", f"the number {'9' * 30}… is too large"),
    (b'{"value": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "the body is nested too deep"),
    (b'{"value": "\xff"}', "the body is not UTF-8 (byte 12)"),
    (b'{"value": "a\x00b"}', "the body is not JSON: Invalid control character at line 1 column 13"),
    (b'{"value": 1, "value": 2}', "the name 'value' is in one object twice"),
    (b"\xef\xbb\xbf{}", "the body is not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig) at line 1 column 1"),
]


@pytest.mark.asyncio
async def test_a_body_that_is_not_json_is_a_400_that_says_where(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    before = await sqlite_api.everything()
    for raw, detail in RAW:
        problem = (await sqlite_api("PATCH", STATE, 400, content=raw, headers=JSON)).json()
        assert (problem["code"], problem["detail"]) == ("malformed", detail)
    deep = b'{"value": ' + b"[" * 65 + b"]" * 65 + b"}"
    problem = (await sqlite_api("PATCH", STATE, 422, content=deep, headers=JSON)).json()
    assert problem["errors"] == [{"field": "value", "message": "must not be nested deeper than 64 levels"}]
    assert await sqlite_api.everything() == before


@pytest.mark.asyncio
async def test_a_body_of_another_type_is_415(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    for given in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": given}
        problem = (await sqlite_api("PATCH", STATE, 415, content=b'{"value": 1}', headers=headers)).json()
        assert problem["detail"] == (
            f"the body is declared as {given.partition(';')[0]}; send Content-Type: application/json"
        )
    for given in ("application/json; charset=utf-8", "application/merge-patch+json", ""):
        await sqlite_api("PATCH", STATE, 200, content=b'{"value": 1}', headers={"Content-Type": given})


@pytest.mark.asyncio
async def test_a_body_above_the_limit_is_413_declared_or_chunked(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    before = await sqlite_api.everything()
    large = b'{"value": "' + b"x" * 70_000 + b'"}'

    async def chunks() -> Any:
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    paths = [("PATCH", STATE), ("POST", "/api/projects"), ("POST", "/sse/environments/dev/queue-change")]
    for method, path in paths:
        for content in (large, chunks()):
            headers = {**JSON, "Authorization": "Token sse-token-of-a-test"} if "sse" in path else JSON
            problem = (await sqlite_api(method, path, 413, content=content, headers=headers)).json()
            assert problem["detail"] == "the body must be at most 65536 bytes"
    assert await sqlite_api.everything() == before


@pytest.mark.asyncio
async def test_a_body_without_end_is_refused_before_its_end(sqlite_api: Api) -> None:
    host, _, port = sqlite_api.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
    piece = b"400\r\n" + b"[" * 1024 + b"\r\n"
    for _ in range(80):
        writer.write(piece)
    assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 413")
    writer.close()


@pytest.mark.asyncio
async def test_a_caller_who_hangs_up_in_the_middle_of_a_body_does_no_harm(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    before = await sqlite_api.everything()
    host, _, port = sqlite_api.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f'{HEAD}Content-Length: 50\r\n\r\n{{"value": '.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await sqlite_api.everything() == before


NOTHING = [
    ("GET", "/api/projects/2", "there is no project '2'"),
    ("GET", "/api/projects/0", "there is no project '0'"),
    ("GET", "/api/projects/99999999999999999999", "there is no project '99999999999999999999'"),
    ("GET", "/api/projects/2147483648", "there is no project '2147483648'"),
    ("DELETE", "/api/projects/²", "there is no project '²'"),
    ("GET", "/api/projects/x/environments", "there is no project 'x'"),
    ("GET", "/api/environments/nope", "there is no environment 'nope'"),
    ("DELETE", "/api/environments/no.pe", "there is no environment 'no.pe'"),
    ("GET", "/api/environments/%00/features", "there is no environment '\\x00'"),
    ("GET", "/api/environments/nope/features/checkout", "there is no environment 'nope'"),
    ("GET", "/api/environments/dev/features/nope", "there is no feature 'nope'"),
    ("GET", "/api/environments/dev/features/%00", "there is no feature '\\x00'"),
    ("DELETE", "/api/projects/1/features/%ED%A0%80", "there is no feature '���'"),
    ("DELETE", "/api/tokens/77", "there is no token '77'"),
    ("DELETE", "/api/tokens/77777777777", "there is no token '77777777777'"),
    ("GET", "/api/nothing", "there is nothing at GET /api/nothing; /api/docs lists what there is"),
]


@pytest.mark.asyncio
async def test_what_does_not_exist_is_a_404_that_names_it(api: Api) -> None:
    await api.demo()
    for method, path, detail in NOTHING:
        problem = (await api(method, path, 404)).json()
        assert (problem["code"], problem["detail"]) == ("not-found", detail)
    await api("PATCH", "/api/environments/dev/features/nope", 404, json={"value": 1})
    await api("PATCH", "/api/environments/nope/features/checkout", 404, json={"value": 1})


@pytest.mark.asyncio
async def test_a_method_that_a_path_does_not_know_is_405_and_names_those_it_knows(sqlite_api: Api) -> None:
    refused = await sqlite_api("PUT", "/api/projects", 405)
    assert refused.json()["code"] == "method-not-allowed"
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    refused = await sqlite_api("DELETE", STATE, 405)
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "PATCH"}


QUERIES = [
    ("/api/projects?limit=0", "limit", "must be at least 1"),
    ("/api/projects?limit=501", "limit", "must be at most 500"),
    ("/api/projects?limit=ten", "limit", "must be an integer"),
    ("/api/projects?limit=1&limit=2", "limit", "must be given once"),
    ("/api/projects?after=-1", "after", "must be at least 0"),
    (f"/api/projects?after={10**30}", "after", "must be at most 2147483647"),
    ("/api/projects?page=2", "page", "is not known here; known are limit, after"),
    ("/api/changes?action=state.exploded", "action", "must be 'project.created'"),
    ("/api/changes?pushed=maybe", "pushed", "must be true or false"),
    ("/api/changes?actor=%00", "actor", "must not contain the control character U+0000"),
    ("/api/changes?since=yesterday", "since", "is not an ISO 8601 time"),
    ("/api/changes?since=nan", "since", "is not an ISO 8601 time"),
    ("/api/changes?until=1e400", "until", "is not an ISO 8601 time"),
    (f"/api/changes?until={10**30}", "until", "is too far in the future"),
    ("/api/annotations?to=5", "from", "must be given"),
    ("/api/annotations?from=x&to=5", "from", "must be an integer"),
    ("/api/streams?environment=a.b", "environment", "must be environment keys"),
    ("/api/environments/dev/analytics?days=0", "days", "must be at least 1"),
]


@pytest.mark.asyncio
async def test_each_bad_query_is_named(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    for path, field, message in QUERIES:
        errors = (await sqlite_api("GET", path, 422)).json()["errors"]
        assert errors[0]["field"] == field, (path, errors)
        assert message in errors[0]["message"], path
