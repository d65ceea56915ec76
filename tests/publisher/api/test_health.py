from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from publisher import outbox
from publisher.messages import MAX_AHEAD, now
from tests.publisher.api.serving import Api, serving, settings_for
from tests.servers import NatsServer, PostgresServer


@pytest.mark.asyncio
async def test_probes_answer_under_every_name_without_a_token(sqlite_api: Api) -> None:
    del sqlite_api.client.headers["Authorization"]
    for path in ("/health/liveness", "/health", "/livez", "/sse/health", "/health/readiness", "/readyz"):
        for form in (path, f"{path}/"):
            assert (await sqlite_api("GET", form, 200)).json()["status"] == "ok"
            await sqlite_api("HEAD", form, 200)
    await sqlite_api("POST", "/health", 405)


@pytest.mark.asyncio
async def test_nats_away_is_said_but_does_not_make_the_publisher_unready(sqlite_api: Api) -> None:
    found = (await sqlite_api("GET", "/health/readiness", 200)).json()
    assert found == {"status": "ok", "database": "ok", "nats": "away; changes wait in the outbox"}
    await sqlite_api.demo("dev", "live")
    figures = (await sqlite_api("GET", "/metrics", 200)).text
    assert "publisher_nats_connected 0.0" in figures
    assert "publisher_outbox_waiting 2.0" in figures


@pytest.mark.asyncio
async def test_a_draining_process_is_alive_and_not_ready(sqlite_api: Api) -> None:
    sqlite_api.app.state.health.drain()
    for path in ("/health/readiness", "/readyz", "/health", "/sse/health"):
        assert (await sqlite_api("GET", path, 503)).json()["status"] == "draining"
    for path in ("/health/liveness", "/livez"):
        await sqlite_api("GET", path, 200)
    await sqlite_api("POST", "/api/projects", 201, json={"name": "still served"})


@pytest.mark.asyncio
async def test_metrics_count_by_route_and_never_show_a_key(sqlite_api: Api) -> None:
    await sqlite_api.demo("secret-key")
    await sqlite_api("PATCH", "/api/environments/secret-key/features/checkout", 200, json={"value": 1})
    await sqlite_api("PATCH", "/api/environments/secret-key/features/checkout", 422, json={})
    figures = (await sqlite_api("GET", "/metrics", 200)).text
    route = 'method="PATCH",route="/api/environments/{key}/features/{name}"'
    assert f'publisher_requests_total{{{route},status="200"}} 1.0' in figures
    assert f'publisher_requests_total{{{route},status="422"}} 1.0' in figures
    assert "publisher_write_seconds_count 4.0" in figures
    assert 'publisher_announcements_total{outcome="published"} 0.0' in figures
    assert "secret-key" not in figures
    assert "checkout" not in figures


@pytest.mark.asyncio
async def test_a_change_is_pushed_and_the_change_log_says_when(database_url: str, nats_server: NatsServer) -> None:
    async with serving(settings_for(database_url, nats_url=(nats_server.url,))) as api:
        await api.demo("dev")
        async with asyncio.timeout(15):
            while (await api("GET", "/api/changes?pushed=false", 200)).json()["items"]:
                await asyncio.sleep(0.02)
        pushed = (await api("GET", "/api/changes?pushed=true", 200)).json()["items"]
        assert [line["action"] for line in pushed] == ["feature.created", "environment.created"]
        assert all(line["pushed_at"] >= line["at"] for line in pushed)
        assert (await api("GET", "/api/environments/dev", 200)).json()["pushed"] is True
        assert (await api("GET", "/health/readiness", 200)).json()["nats"] == "ok"
        figures = (await api("GET", "/metrics", 200)).text
        assert "publisher_nats_connected 1.0" in figures
        assert "publisher_relay_database_errors_total 0.0" in figures
        # Marks of one environment may fall together, so there are one or two.
        assert "publisher_announcements_marked_total 0.0" not in figures
        assert "publisher_announcements_marked_total" in figures
        assert "publisher_outbox_waiting 0.0" in figures
        # No stream server is there, so the sum over all of them is known: none.
        assert (await api("GET", "/api/streams?environment=dev&environment=x", 200)).json() == {
            "servers": 0,
            "streams": {"dev": 0, "x": 0},
        }
        (note,) = (await api("GET", "/api/annotations?from=0&to=9999999999999&feature=checkout", 200)).json()
        assert note["timeEnd"] >= note["time"]


@pytest.mark.asyncio
async def test_an_environment_that_a_wrong_clock_put_ahead_is_counted(tmp_path: Path, nats_server: NatsServer) -> None:
    settings = settings_for(f"sqlite:///{tmp_path / 'f.db'}", nats_url=(nats_server.url,), reconcile_interval=0.1)
    async with serving(settings) as api:
        await api.demo("dev")
        async with api.store.database.write() as session:
            await outbox.advance(api.store.database, session, "dev", clock=lambda: now() + 2 * MAX_AHEAD)
        async with asyncio.timeout(15):
            while "1 environments" not in (await api("GET", "/readyz", 200)).json()["nats"]:
                await asyncio.sleep(0.02)
        assert "publisher_too_far_ahead 1.0" in (await api("GET", "/metrics", 200)).text


@pytest.mark.asyncio
async def test_streams_are_unknown_while_nats_is_away(sqlite_api: Api) -> None:
    found = (await sqlite_api("GET", "/api/streams?environment=dev", 200)).json()
    assert found == {"servers": None, "streams": {"dev": None}}


@pytest.mark.asyncio
async def test_without_its_database_the_publisher_answers_503_and_recovers(caplog: pytest.LogCaptureFixture) -> None:
    server = PostgresServer().start()
    try:
        async with serving(settings_for(server.create_database())) as api:
            await api.demo()
            server.process.kill()
            problem = await api("PATCH", "/api/environments/dev/features/checkout", 503, json={"value": "b"})
            assert problem.json()["code"] == "unavailable"
            assert problem.headers["retry-after"] == "1"
            headers = {"Authorization": "Token sse-token-of-a-test"}
            path = "/sse/environments/dev/queue-change"
            refused = await api("POST", path, 503, json={"updated_at": 1.5}, headers=headers)
            assert refused.json().keys() == {"detail"}
            await api("GET", "/api/v1/flags/", 503, headers={"X-Environment-Key": "dev"})
            assert (await api("GET", "/health/readiness", 503)).json()["database"] == "away"
            await api("GET", "/health/liveness", 200)
            await api("GET", "/metrics", 200)
            before = server.process.output().count("ready to accept connections")
            server.process.start()
            async with asyncio.timeout(20):
                while server.process.output().count("ready to accept connections") == before:
                    await asyncio.sleep(0.02)
            await api("GET", "/health/readiness", 200)
            assert (await api("GET", "/api/environments/dev/features/checkout", 200)).json()["value"] == "a"
            await api("PATCH", "/api/environments/dev/features/checkout", 200, json={"value": "b"})
    finally:
        server.stop()
    assert not [record for record in caplog.records if record.exc_info], caplog.text
