"""The published Flagsmith SDK, and our own publisher as the upstream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from flagsmith import Flagsmith

from publisher.messages import version_of
from stream_server.versions import SharedVersions
from tests.documents.upstream import CLIENT_KEY, NOW, SERVER_KEY, Setup, Upstream, documents, serving, value, version
from tests.programs import ADMIN_TOKEN, publisher
from tests.servers import NatsServer

pytestmark = pytest.mark.asyncio


async def test_published_sdk_reads_flags_identities_and_the_environment_document(setup: Setup) -> None:
    setup.versions.advance(CLIENT_KEY, NOW)

    def use(api_url: str) -> list[object]:
        remote = Flagsmith(environment_key=CLIENT_KEY, api_url=api_url)
        local = Flagsmith(environment_key=SERVER_KEY, api_url=api_url, enable_local_evaluation=True)
        local.update_environment()
        found = [
            remote.get_environment_flags().get_feature_value("f"),
            remote.get_identity_flags("u", {"age": 30}).get_feature_value("f"),
            local.get_environment_flags().get_feature_value("f"),
        ]
        local.environment_data_polling_manager_thread.stop()
        return found

    async with serving(setup.app) as port:
        found = await asyncio.to_thread(use, f"http://127.0.0.1:{port}/api/v1/")
    assert found == ["a", "a", "a"]
    assert setup.upstream.bodies == [{"identifier": "u", "traits": [{"trait_key": "age", "trait_value": 30}]}]


async def test_our_publisher_is_an_upstream(tmp_path: Path, nats_server: NatsServer) -> None:
    program = publisher(tmp_path, nats_url=nats_server.url, database_url=f"sqlite:///{tmp_path / 'flags.db'}")
    program.start()
    try:
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(base_url=program.url, headers=headers, timeout=10) as api:
            project = (await api.post("/api/projects", json={"name": "shop"})).json()
            path = f"/api/projects/{project['id']}"
            environment = (await api.post(f"{path}/environments", json={"name": "live"})).json()
            await api.post(f"{path}/features", json={"name": "f"})
            state = f"/api/environments/{environment['key']}/features/f"
            versions = SharedVersions(None, 16, 1, 0)
            upstream = Upstream(port=int(program.url.rpartition(":")[2]))
            async with documents(upstream, versions) as setup:
                for step in ("a", "b", "c"):
                    changed = (await api.patch(state, json={"enabled": True, "value": step})).json()
                    announced = version_of(changed["updated_at"])
                    versions.advance(environment["key"], announced)
                    for kind in ("key", "server_key"):
                        response = await setup.flags(f"?v={announced}", key=environment[kind])
                        assert value(response) == step
                        assert version(response) >= announced
                        assert "X-Flagstream-Environment" not in response.headers
                refused = await setup.flags(key="nobody")
                assert refused.status_code == 401
                assert refused.json()["detail"]
    finally:
        program.kill()
