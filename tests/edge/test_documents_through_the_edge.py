"""Flag documents of a real publisher through real stream server and Varnish: one request a version, never mixed."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.edge.clients.recording import Answer, RecordingOrigin, ask
from tests.edge.clients.site import FEATURE, Environment, Site
from tests.edge.varnish import Varnish
from tests.servers import NatsServer, wait_until

pytestmark = pytest.mark.slow

CROWD = 1000
"""Clients of each of two environments, at once."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    nats = NatsServer(folder).start()
    try:
        with Site(folder, nats, waiting_room=False).running() as running:
            yield running
    finally:
        nats.kill()


@pytest.fixture(scope="module")
def environments(site: Site) -> list[Environment]:
    return site.make("Production", "Staging")


def served(site: Site, path: str) -> int:
    """Return how many requests of a document the stream server has seen."""
    lines = httpx.get(f"{site.origins[0].url}/metrics").text.splitlines()
    begin = "flagstream_documents_total{"
    return round(
        sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(begin) and f'document="{path}"' in line)
    )


def get(site: Site, path: str, key: str = "", **headers: str) -> httpx.Response:
    named = {"X-Environment-Key": key} if key else {}
    return httpx.get(site.edge.url + path, headers=named | headers, timeout=10)


def announced(site: Site, environment: Environment, value: str) -> int:
    """Change the feature, and wait until the stream server itself has the change."""
    version = site.set(environment.key, value)
    url, headers = f"{site.origins[0].url}/api/v1/flags/", {"X-Environment-Key": environment.key}
    wait_until(
        lambda: int(httpx.get(url, headers=headers).headers["x-flagstream-version"]) >= version, "the announcement"
    )
    return version


async def crowd(port: int, requests: list[bytes]) -> list[Answer]:
    """Ask all at once, and read whole answers."""

    async def one(request: bytes) -> Answer:
        answer = await ask(port, request, seconds=30)
        answer.body += await answer.reader.read(-1)
        answer.close()
        return answer

    return await asyncio.gather(*(one(each) for each in requests))


def asking(path: str, key: str) -> bytes:
    # HTTP/1.0: an answer without chunks, up to the end of the connection.
    return f"GET {path} HTTP/1.0\r\nHost: x\r\nX-Environment-Key: {key}\r\n\r\n".encode()


def value(body: bytes | str) -> Any:
    return json.loads(body)[0]["feature_state_value"]


def test_two_thousand_clients_after_an_update_are_one_request_an_environment(
    site: Site, environments: list[Environment]
) -> None:
    wanted = {
        each.key: (announced(site, each, f"of-{number}"), f"of-{number}") for number, each in enumerate(environments)
    }
    before = served(site, "flags")
    requests = [
        asking(f"/api/v1/flags/?v={wanted[each.key][0]}", each.key) for each in environments for _ in range(CROWD)
    ]
    answers = asyncio.run(crowd(site.edge.port, requests))
    assert Counter(each.status for each in answers) == {200: 2 * CROWD}
    for number, each in enumerate(environments):
        mine = answers[number * CROWD : (number + 1) * CROWD]
        version, said = wanted[each.key]
        assert {answer.headers["x-flagstream-version"] for answer in mine} == {str(version)}
        assert {value(answer.body) for answer in mine} == {said}
    assert served(site, "flags") - before == len(environments)


def test_an_unversioned_document_is_passed_and_never_old(site: Site, environments: list[Environment]) -> None:
    [environment, _] = environments
    for number in range(5):
        announced(site, environment, f"fresh-{number}")
        for path in ("/api/v1/flags/", "/api/v1/flags", f"/api/v1/flags/?feature={FEATURE}", "/api/v1/flags/?_=1"):
            before = served(site, "flags")
            answer = get(site, path, environment.key)
            assert f"fresh-{number}" in answer.text, path
            assert "age" not in answer.headers or answer.headers["age"] == "0"
            assert served(site, "flags") == before + 1, path


def test_an_answer_of_another_version_is_kept_a_second_at_most(site: Site, environments: list[Environment]) -> None:
    [environment, _] = environments
    old = announced(site, environment, "one")
    new = announced(site, environment, "two")
    path = f"/api/v1/flags/?v={old}"
    assert get(site, path, environment.key).headers["x-flagstream-version"] == str(new)
    newest = announced(site, environment, "three")
    wait_until(
        lambda: get(site, path, environment.key).headers["x-flagstream-version"] == str(newest),
        "the end of the answer of another version",
        seconds=3,
    )
    # One that carries its version is kept, and is the same for everybody afterwards.
    path = f"/api/v1/flags/?v={newest}"
    get(site, path, environment.key)
    before = served(site, "flags")
    for spelling in (path, path.replace("/?", "?"), f"{path}&_=1", f"/api/v1/flags/?x=y&v={newest}"):
        assert value(get(site, spelling, environment.key).text) == "three"
    assert served(site, "flags") == before


def test_a_stale_answer_is_not_kept_under_its_version(site: Site, environments: list[Environment]) -> None:
    """The upstream is away, a newer version is asked for: what is served meanwhile is gone a second later."""
    [_, environment] = environments
    version = announced(site, environment, "last good")
    site.managing.kill()
    try:
        path = f"/api/v1/flags/?v={version + 10}"
        answer = get(site, path, environment.key)
        assert answer.status_code == 200
        assert answer.headers["x-flagstream-version"] == str(version)
        before = served(site, "flags")

        def asked_again() -> bool:
            get(site, path, environment.key)
            return served(site, "flags") > before

        wait_until(asked_again, "another request at the origin", seconds=3)
    finally:
        site.managing.start()


def test_environments_and_their_keys_are_never_mixed(site: Site, environments: list[Environment]) -> None:
    versions = [announced(site, each, f"mixed-{number}") for number, each in enumerate(environments)]
    assert versions[0] != versions[1]
    for version in (*versions, max(versions)):
        for number, each in enumerate(environments):
            # The same URL, told apart by the header alone; twice, so that the second comes from the cache.
            for _ in range(2):
                assert value(get(site, f"/api/v1/flags/?v={version}", each.key).text) == f"mixed-{number}"
                assert value(get(site, f"/api/v1/flags/?v={version}", each.server_key).text) == f"mixed-{number}"
                document = get(site, f"/api/v1/environment-document/?v={version}", each.server_key)
                assert document.json()["api_key"] == each.key
                refused = get(site, f"/api/v1/environment-document/?v={version}", each.key)
                assert refused.status_code in {401, 403}, refused.text
    for path in ("/api/v1/flags/?v=5", "/api/v1/flags/", "/api/v1/environment-document/?v=5"):
        assert get(site, path, "nobody").status_code == 401
        assert get(site, path).status_code == 401
        assert get(site, path, "nobody").json()["detail"]


def test_identities_and_analytics_pass_with_their_bodies(site: Site, environments: list[Environment]) -> None:
    [environment, _] = environments
    headers = {"X-Environment-Key": environment.key}
    for name in ("ann", "bob"):
        asked = get(site, f"/api/v1/identities/?identifier={name}", environment.key)
        assert asked.json()["flags"]
        body = {"identifier": name, "traits": [{"trait_key": "age", "trait_value": 5}]}
        told = httpx.post(f"{site.edge.url}/api/v1/identities/", json=body, headers=headers)
        assert told.json()["identifier"] == name
        assert told.json()["traits"][0]["trait_key"] == "age"
    large = {"identifier": "x" * 2000, "traits": [{"trait_key": f"t{n}", "trait_value": "v" * 100} for n in range(100)]}
    chunks = iter([json.dumps(large).encode()[:5000], json.dumps(large).encode()[5000:]])
    chunked = httpx.post(f"{site.edge.url}/api/v1/identities/", content=chunks, headers=headers)
    assert chunked.is_success or chunked.status_code == 400, chunked.text
    counted = httpx.post(f"{site.edge.url}/api/v1/analytics/flags/", json={FEATURE: 3}, headers=headers)
    assert counted.status_code == 200


def test_one_kept_answer_serves_those_with_and_without_gzip(site: Site, environments: list[Environment]) -> None:
    [environment, _] = environments
    version = announced(site, environment, "packed" * 200)
    path = f"/api/v1/flags/?v={version}"
    before = served(site, "flags")
    packed, plain = asyncio.run(
        crowd(
            site.edge.port,
            [
                asking(path, environment.key).replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n"),
                asking(path, environment.key),
            ],
        )
    )
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert value(plain.body) == "packed" * 200
    assert value(gzip.decompress(packed.body)) == "packed" * 200
    assert get(site, path, environment.key).json()[0]["feature_state_value"] == "packed" * 200
    assert served(site, "flags") == before + 1


def test_a_stampede_beside_a_dead_origin_is_a_few_requests(tmp_path: Path) -> None:
    """Errors are shared for a second: a thousand clients are no thousand tries."""

    async def stampede() -> tuple[Counter[int], int, float]:
        origin = RecordingOrigin()
        async with origin.running():
            port = origin.port
        edge = Varnish(tmp_path, origins=[f"127.0.0.1:{port}"])
        await asyncio.to_thread(edge.start)
        try:
            requests = [asking("/api/v1/flags/?v=5", "abc") for _ in range(CROWD)]
            began = time.monotonic()
            answers = await crowd(edge.port, requests)
            seconds = time.monotonic() - began
            assert all(each.headers["access-control-allow-origin"] == "*" for each in answers)
            return Counter(each.status for each in answers), edge.counter("MAIN.s_fetch"), seconds
        finally:
            await asyncio.to_thread(edge.stop)

    statuses, tries, seconds = asyncio.run(stampede())
    assert statuses == {503: CROWD}
    assert tries <= seconds + 9
