from __future__ import annotations

import asyncio
import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from flagsmith import Flagsmith
from sqlalchemy import select

from publisher.models import Announcement, Evaluation
from tests.publisher.api.serving import Api

KEY = {"X-Environment-Key": "dev"}
ALLOWED = ("X-Environment-Key", "Content-Type", "Flagsmith-SDK-User-Agent", "Flagsmith-Application-Version")


async def server_key(api: Api) -> str:
    key: str = (await api("GET", "/api/environments/dev", 200)).json()["server_key"]
    return key


@pytest.mark.asyncio
async def test_flags_have_the_form_that_sdks_read(api: Api) -> None:
    project = await api.demo()
    values: list[Any] = ["text", 3, 1.5, True, None, {"a": 1}, [1, "ü"]]
    for number, value in enumerate(values):
        await api.feature(project, f"f{number}", value=value)
    for key in ("dev", await server_key(api)):
        found = (await api("GET", "/api/v1/flags/", 200, headers={"X-Environment-Key": key})).json()
        assert [flag["feature_state_value"] for flag in found] == [
            *("a", "text", 3, 1.5, True, None),
            *('{"a":1}', '[1,"ü"]'),  # published SDKs decode scalars only
        ]
        assert found[0]["enabled"] is True
        assert [found[0]["feature"][name] for name in ("id", "name", "type")] == [1, "checkout", "STANDARD"]
    again = (await api("GET", "/api/v1/flags", 200, headers=KEY)).json()
    assert [flag["feature"]["id"] for flag in again] == [flag["feature"]["id"] for flag in found]


@pytest.mark.asyncio
async def test_every_document_is_labelled_with_the_exact_version(api: Api) -> None:
    await api.demo()
    state = await api("PATCH", "/api/environments/dev/features/checkout", 200, json={"value": "b"})
    async with api.store.read() as session:
        version = (await session.execute(select(Announcement.version))).scalar_one()
    key = await server_key(api)
    for method, path, sent, body in (
        ("GET", "/api/v1/flags/", "dev", None),
        ("GET", "/api/v1/identities/?identifier=u", "dev", None),
        ("POST", "/api/v1/identities/", "dev", {"identifier": "u", "traits": []}),
        ("GET", "/api/v1/environment-document/", key, None),
        ("POST", "/api/v1/analytics/flags/", "dev", {"checkout": 1}),
    ):
        found = await api(method, path, 200, headers={"X-Environment-Key": sent}, json=body)
        assert found.headers["x-flagstream-version"] == str(version)
        exact = found.headers["x-flagsmith-document-updated-at"]
        assert re.fullmatch(r"\d+\.\d{6}", exact)
        assert Decimal(exact) * 1_000_000 == version
        assert found.headers["x-flagstream-environment"] == "dev"
        assert found.headers["access-control-allow-origin"] == "*"
        exposed = found.headers["access-control-expose-headers"]
        assert {"X-Flagsmith-Document-Updated-At", "X-Flagstream-Version"} <= set(exposed.split(", "))
        # An SDK that compares the event with the document must not take the same version for a newer one.
        assert state.json()["updated_at"] <= float(exact)


@pytest.mark.asyncio
async def test_identities_get_the_same_flags_and_their_traits_back(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    flags = (await sqlite_api("GET", "/api/v1/flags/", 200, headers=KEY)).json()
    path = "/api/v1/identities/"
    found = (await sqlite_api("GET", path, 200, headers=KEY, params={"identifier": "ü@x"})).json()
    assert found == {"identifier": "ü@x", "flags": flags, "traits": []}
    traits: list[dict[str, Any]] = [
        {"trait_key": "plan", "trait_value": "free"},
        {"trait_key": "age", "trait_value": 7},
    ]
    body = {"identifier": "u", "traits": [{**each, "transient": False} for each in traits], "transient": False}
    assert (await sqlite_api("POST", path, 200, headers=KEY, json=body)).json() == {
        "identifier": "u",
        "flags": flags,
        "traits": traits,
    }
    anonymous = {"traits": traits, "transient": True}
    first = (await sqlite_api("POST", path, 200, headers=KEY, json=anonymous)).json()
    assert (
        first["identifier"] == (await sqlite_api("POST", path, 200, headers=KEY, json=anonymous)).json()["identifier"]
    )


BAD: list[tuple[str, str, Any, str]] = [
    ("GET", "identities/", None, "identifier: must be given, as text"),
    ("GET", "identities/?identifier=", None, "identifier: must be given, as text"),
    ("GET", f"identities/?identifier={'x' * 2001}", None, "identifier: must be at most 2000 characters"),
    ("POST", "identities/", b"{", "the body is not JSON"),
    ("POST", "identities/", b"[]", "body: must be a JSON object"),
    ("POST", "identities/", b'{"identifier": {}}', "identifier: must be given, as text"),
    ("POST", "identities/", b'{"identifier": ["a"], "transient": true}', "identifier: must be given, as text"),
    ("POST", "identities/", b'{"identifier": "\\ud800"}', "identifier: must not contain half of a surrogate pair"),
    ("POST", "identities/", b'{"identifier": "u", "traits": {}}', "traits: must be a list"),
    ("POST", "identities/", b'{"identifier": "u", "traits": [1]}', "traits.0: must be an object"),
    (
        "POST",
        "identities/",
        b'{"identifier": "u", "traits": [{"trait_key": "k", "trait_value": []}]}',
        "traits.0.trait_value: must be text, a number, true, false or null",
    ),
    ("POST", "analytics/flags/", b"[]", "body: must be a JSON object of counts"),
    ("POST", "analytics/flags/", b'{"checkout": "1"}', "checkout: must be a whole number"),
    ("POST", "analytics/flags/", b'{"checkout": -1}', "checkout: must be a whole number"),
    ("POST", "analytics/flags/", b'{"checkout": true}', "checkout: must be a whole number"),
    ("POST", "analytics/flags/", b'{"\\ud800": 1.5}', "?: must be a whole number"),
]


@pytest.mark.asyncio
async def test_bad_requests_of_apps_are_400_with_a_detail_that_a_browser_may_read(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    for method, path, content, detail in BAD:
        refused = await sqlite_api(method, f"/api/v1/{path}", 400, headers=KEY, content=content)
        assert refused.json().keys() == {"detail"}
        assert refused.json()["detail"].startswith(detail)
        assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.asyncio
async def test_an_unknown_key_is_401_and_the_environment_document_wants_a_server_key(api: Api) -> None:
    await api.demo()
    for key in ("", "nope", "dev.", "ser.nope", "k" * 5000, "a b"):
        for path in ("flags/", "identities/?identifier=u", "environment-document/"):
            refused = await api("GET", f"/api/v1/{path}", 401, headers={"X-Environment-Key": key})
            assert refused.json().keys() == {"detail"}
            assert refused.headers["access-control-allow-origin"] == "*"
    await api("GET", "/api/v1/flags/", 401, headers={"X-Environment-Key": "schlüssel".encode()})
    await api("GET", "/api/v1/flags/", 401)
    refused = await api("GET", "/api/v1/environment-document/", 401, headers=KEY)
    assert refused.json() == {"detail": "the environment document needs a server key, which begins ser."}


@pytest.mark.asyncio
async def test_a_browser_may_ask_from_another_site(sqlite_api: Api) -> None:
    for path in ("flags/", "identities/", "environment-document/", "analytics/flags/"):
        headers = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ",".join(name.lower() for name in ALLOWED),
        }
        allowed = await sqlite_api("OPTIONS", f"/api/v1/{path}", 204, headers=headers)
        assert allowed.headers["access-control-allow-origin"] == "*"
        assert set(ALLOWED) <= set(allowed.headers["access-control-allow-headers"].split(", "))
        assert "POST" in allowed.headers["access-control-allow-methods"]


@pytest.mark.asyncio
async def test_the_environment_document_has_what_every_sdk_needs(api: Api) -> None:
    await api.demo()
    headers = {"X-Environment-Key": await server_key(api)}
    found = await api("GET", "/api/v1/environment-document/", 200, headers=headers)
    document = found.json()
    assert document["api_key"] == "dev"
    assert {"id", "name", "organisation", "hide_disabled_flags", "segments"} <= document["project"].keys()
    assert document["identity_overrides"] == []
    (state,) = document["feature_states"]
    assert state["feature"] == {"id": 1, "name": "checkout", "type": "STANDARD"}
    assert state["multivariate_feature_state_values"] == []
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", state["featurestate_uuid"])
    assert re.search(r"\.\d{6}\+00:00$", document["updated_at"])
    moment = datetime.fromisoformat(document["updated_at"])
    assert f"{int(moment.timestamp())}.{moment.microsecond:06d}" == found.headers["x-flagsmith-document-updated-at"]


@pytest.mark.asyncio
async def test_the_published_sdk_reads_both_kinds_of_document(sqlite_api: Api) -> None:
    await sqlite_api.demo()
    key = await server_key(sqlite_api)

    def evaluate(environment_key: str, *, local: bool) -> tuple[Any, bool]:
        sdk = Flagsmith(
            environment_key=environment_key,
            api_url=f"{sqlite_api.url}/api/v1/",
            enable_local_evaluation=local,
            environment_refresh_interval_seconds=3600,
        )
        try:
            flags = sdk.get_environment_flags()
            of_user = sdk.get_identity_flags("u", {"plan": "free"})
            assert of_user.get_feature_value("checkout") == flags.get_feature_value("checkout")
            return flags.get_feature_value("checkout"), flags.is_feature_enabled("checkout")
        finally:
            if local:
                sdk.environment_data_polling_manager_thread.stop()
                sdk.environment_data_polling_manager_thread.join()
            sdk.session.close()

    assert await asyncio.to_thread(evaluate, "dev", local=False) == ("a", True)
    assert await asyncio.to_thread(evaluate, key, local=True) == ("a", True)


@pytest.mark.asyncio
async def test_reported_evaluations_are_added_up_by_day(api: Api) -> None:
    await api.demo("dev", "live")
    path = "/api/v1/analytics/flags/"
    body = {"checkout": 2, "unknown": 5}
    answers = await asyncio.gather(*(api.client.post(path, json=body, headers=KEY) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    await api("POST", path, 200, json={"checkout": 1}, headers={"X-Environment-Key": "live"})
    async with api.store.database.write() as session:
        session.add(Evaluation(environment_id=1, feature="checkout", day="2001-01-01", count=9))
    items = (await api("GET", "/api/environments/dev/analytics", 200)).json()["items"]
    assert [(item["feature"], item["count"]) for item in items] == [("checkout", 100)]
    items = (await api("GET", "/api/environments/live/analytics?days=1", 200)).json()["items"]
    assert [(item["feature"], item["count"]) for item in items] == [("checkout", 1)]
    await api("GET", "/api/environments/nope/analytics", 404)
