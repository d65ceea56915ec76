from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # has no stubs of its own
from openapi_spec_validator import validate
from starlette.routing import Route

from tests.publisher.api.serving import Api


def mounted(api: Api) -> set[tuple[str, str]]:
    return {
        (method, route.path)
        for route in api.app.routes
        if isinstance(route, Route) and (route.path.startswith("/api") or "queue-change" in route.path)
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.mark.asyncio
async def test_the_document_is_openapi_3_1_and_has_every_route_and_no_other(sqlite_api: Api) -> None:
    del sqlite_api.client.headers["Authorization"]
    document = (await sqlite_api("GET", "/api/openapi.json", 200)).json()
    assert document["openapi"].startswith("3.1")
    validate(document)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == mounted(sqlite_api)
    assert len(described) > 30
    identifiers = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(identifiers) == len(set(identifiers))


@pytest.mark.asyncio
async def test_the_page_shows_every_route_and_loads_nothing(sqlite_api: Api) -> None:
    del sqlite_api.client.headers["Authorization"]
    page = await sqlite_api("GET", "/api/docs", 200)
    assert page.headers["content-type"].startswith("text/html")
    for _, path in mounted(sqlite_api):
        assert f"<code>{path}</code>" in page.text
    assert "<script" not in page.text
    assert not re.findall(r"""(?:src|href)=["'](?!/|#)""", page.text)


class Described:
    """Checks answers against the document as they come."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.checked: set[tuple[str, str, str]] = set()

    def check(self, method: str, template: str, status: int, media: str, content: Any) -> None:
        responses = self.document["paths"][template][method.lower()]["responses"]
        assert str(status) in responses, (method, template, status, content)
        if content is None:
            return
        schema = responses[str(status)]["content"][media]["schema"]
        Draft202012Validator({**schema, "components": self.document["components"]}).validate(content)
        self.checked.add((method, template, str(status)))


@pytest.mark.asyncio
async def test_answers_are_what_the_document_says(sqlite_api: Api) -> None:
    described = Described((await sqlite_api("GET", "/api/openapi.json", 200)).json())
    project, environment, state = "/api/projects/{project}", "/api/environments/{key}", "/features/{name}"
    new = "/api/projects"
    calls: list[tuple[str, str, int, Any]] = [
        ("POST", new, 201, {"name": "p"}),
        ("POST", new, 409, {"name": "p"}),
        ("POST", new, 422, {"name": 1}),
        ("POST", new, 400, b"{"),
        ("POST", new, 413, b"x" * 70_000),
        ("GET", new, 200, None),
        ("PATCH", project, 200, {"name": "q"}),
        ("PATCH", project, 409, {"name": "q", "version": 1}),
        ("GET", project, 200, None),
        ("POST", f"{project}/environments", 201, {"name": "dev", "key": "dev"}),
        ("GET", f"{project}/environments", 200, None),
        ("POST", f"{project}/features", 201, {"name": "f", "value": {"a": []}}),
        ("GET", f"{project}/features", 200, None),
        ("PATCH", f"{project}{state}", 200, {"description": "d"}),
        ("GET", f"{project}{state}", 200, None),
        ("GET", environment, 200, None),
        ("PATCH", environment, 200, {"name": "d"}),
        ("GET", f"{environment}/features", 200, None),
        ("PATCH", f"{environment}{state}", 200, {"value": 1}),
        ("GET", f"{environment}{state}", 200, None),
        ("GET", f"{environment}/analytics", 200, None),
        ("GET", "/api/changes", 200, None),
        ("POST", "/api/tokens", 201, {"name": "t"}),
        ("GET", "/api/tokens", 200, None),
        ("GET", "/api/time", 200, None),
        ("GET", "/api/streams", 200, None),
        ("GET", "/api/edges", 200, None),
        ("GET", "/api/v1/flags", 200, None),
        ("GET", "/api/v1/environment-document", 401, None),
        ("POST", "/api/v1/identities", 200, {"identifier": "u"}),
        ("POST", "/sse/environments/{key}/queue-change", 401, {"updated_at": 1}),
        ("DELETE", f"{project}{state}", 204, None),
        ("DELETE", "/api/tokens/{token}", 204, None),
        ("DELETE", environment, 204, None),
        ("DELETE", project, 204, None),
        ("DELETE", project, 404, None),
    ]
    for method, template, status, body in calls:
        path = template.format(project=1, key="dev", name="f", token=1)
        content = {"content": body, "headers": {"Content-Type": "application/json"}} if isinstance(body, bytes) else {}
        more = content or {"json": body, "headers": {"X-Environment-Key": "dev"}}
        answer = await sqlite_api(method, path, status, **more)
        media = answer.headers.get("content-type", "")
        described.check(method, template, status, media, answer.json() if answer.content else None)
    assert len(described.checked) > 25
