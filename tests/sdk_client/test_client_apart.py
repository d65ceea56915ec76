"""Clients without streams or without a server: bootstrap, cache, offline, polling, and the double for users' tests."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from sdk_client import (
    Change,
    ClientStoppedError,
    ConfigurationError,
    Flag,
    FlagClient,
    Hooks,
    KeyRefusedError,
    NotReadyError,
    Source,
    Status,
    Update,
)
from tests.sdk_client.scripted import V1, V2, Peer, ScriptedServer, answers, cuts
from tests.sdk_client.scripted_thread import served
from tests.sdk_client.test_client import client_of, next_of, until

NOWHERE = "http://127.0.0.1:9"
"""Nothing listens there."""


def kept_in(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.json"))


@pytest.mark.asyncio
async def test_with_a_bootstrap_an_app_starts_at_once_when_everything_is_down() -> None:
    began = time.monotonic()
    async with FlagClient(environment_key="k", api_url=NOWHERE, bootstrap={"banner": "from the file"}) as client:
        assert time.monotonic() - began < 5, "not only after ready_timeout, which is 10 s"
        assert client.string("banner", "none") == "from the file"
        assert client.flags.source is Source.BOOTSTRAP
        assert client.status == Status.STARTING
        assert not client.is_current


@pytest.mark.asyncio
async def test_the_server_replaces_the_bootstrap_and_what_differs_is_a_change() -> None:
    async with ScriptedServer(features={"banner": (True, "a"), "same": (True, 1)}) as server:
        client = client_of(server, bootstrap={"banner": "old", "same": 1, "gone": True})
        changes = client.changes()
        async with client:
            assert client.value("banner") == "a"
            assert client.flags.source is Source.SERVER
            assert [await next_of(changes), await next_of(changes)] == [
                Change("banner", Flag("banner", enabled=True, value="old"), client.flags["banner"], V1),
                Change("gone", Flag("gone", enabled=True, value=None), None, V1),
            ]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_file", [True, False], ids=["file", "folder"])
async def test_the_last_known_flags_are_kept_on_disk_and_an_app_starts_with_them(
    tmp_path: Path, *, is_file: bool
) -> None:
    cache = tmp_path / "flags.json" if is_file else tmp_path / "flags"
    async with ScriptedServer(etags=True) as server:
        async with client_of(server, cache=cache) as client:
            await until(lambda: client.connected)
            server.announce(V2, banner="newest")
            await until(lambda: str(V2) in kept_in(tmp_path))
        async with FlagClient(environment_key="env-key", api_url=NOWHERE, cache=cache) as client:
            assert client.value("banner") == "newest"
            assert client.version == V2
            assert client.flags.source is Source.CACHE
        before = len(server.documents)
        async with client_of(server, cache=cache) as client:
            assert client.flags.source is Source.SERVER
            assert client.value("banner") == "newest"
        assert len(server.documents) == before + 1
        assert server.documents[-1].headers["if-none-match"], "a 304 is enough"
    assert "env-key" not in kept_in(tmp_path)


@pytest.mark.asyncio
async def test_a_damaged_cache_is_one_warning_and_no_flags(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "flags.json"
    cache.write_text("{")
    async with ScriptedServer() as server, client_of(server, cache=cache) as client:
        assert client.value("banner") == "a"
    assert [record.getMessage() for record in caplog.records if str(cache) in record.getMessage()]
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@pytest.mark.asyncio
async def test_a_refused_key_does_not_keep_an_app_with_flags_from_starting_but_one_without() -> None:
    async with ScriptedServer(document_scripts=[answers(401)] * 2) as server:
        async with client_of(server, bootstrap={"banner": True}) as client:
            assert client.is_enabled("banner")
        with pytest.raises(KeyRefusedError):
            async with client_of(server):
                pass


@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_waited_for_and_then_the_flags_at_hand_are_taken() -> None:
    async def mute(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer(document_scripts=[mute] * 2) as server:
        async with client_of(server, bootstrap={"banner": True}, ready_timeout=0.3) as client:
            assert client.is_enabled("banner")
        with pytest.raises(NotReadyError, match=r"no flags after 0\.3 s"):
            async with client_of(server, ready_timeout=0.3):
                pass


@pytest.mark.asyncio
async def test_offline_asks_nobody_and_answers_from_the_bootstrap() -> None:
    async with ScriptedServer() as server, client_of(server, offline=True, bootstrap={"x": 3}) as client:
        await client.wait_until_ready(0.1)
        assert client.status.value == "offline"
        assert client.integer("x", 0) == 3
        assert not client.connected
        assert (await client.identity("user")).integer("x", 0) == 3
        await asyncio.sleep(0.2)
        assert server.requests == []
    assert client.status.value == "closed"


class Updates(Hooks):
    def __init__(self) -> None:
        self.heard: list[Update] = []

    def on_update(self, update: Update) -> None:
        self.heard.append(update)


@pytest.mark.asyncio
async def test_the_double_of_a_test_has_flags_at_once_and_tells_of_what_the_test_sets() -> None:
    client = FlagClient.from_dict({"banner": True, "limit": 10, "off": {"enabled": False, "value": "x"}})
    assert client.is_enabled("banner")
    assert client.integer("limit", 0) == 10
    assert not client.is_enabled("off")
    updates = Updates()
    client.add_hooks(updates)
    called: list[Change] = []
    async with client:
        client.on_change(called.append)
        changes = client.changes()
        client.set("limit", 11)
        client.set("banner", state=False)
        client.remove("off")
        assert (await next_of(changes)).value == 11
        assert not (await next_of(changes)).enabled
        assert (await next_of(changes)).new is None
        await until(lambda: len(called) == 3)
    assert [len(update.changes) for update in updates.heard] == [1, 1, 1]
    assert client.integer("limit", 0) == 11


def test_the_double_works_without_an_event_loop() -> None:
    client = FlagClient.from_dict({"banner": True})
    client.set("banner", state=False)
    assert not client.is_enabled("banner", default=True)


@pytest.mark.asyncio
async def test_flags_of_a_client_that_follows_a_server_are_not_set_by_hand() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match="offline must be true"):
            client.set("banner", state=False)
        assert client.is_enabled("banner")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poll_interval": -1}, "poll_interval must be 0 seconds or more"),
        ({"streaming": False, "poll_interval": 0}, "poll_interval must be above 0 seconds where streaming is off"),
        ({"local_evaluation": True}, "local_evaluation needs a server key"),
        ({"bootstrap": {"x": {"on": True}}}, "bootstrap"),
        ({"bootstrap": "/nowhere/flags.json"}, "bootstrap"),
        ({"cache": ""}, "cache"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, Mapping) else "",
)
def test_arguments_that_cannot_work_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FlagClient(**{"environment_key": "k", "api_url": NOWHERE, **settings})  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_an_identity_is_evaluated_by_the_server_once_a_change() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.is_current)
        flags = await client.identity("ann", {"plan": "free", "age": 30})
        assert flags.json("banner") == {
            "identifier": "ann",
            "traits": [{"trait_key": "age", "trait_value": 30}, {"trait_key": "plan", "trait_value": "free"}],
        }
        assert flags.source is Source.SERVER
        assert await client.identity("ann", {"age": 30, "plan": "free"}) == flags
        assert len(server.identities) == 1
        assert server.identities[0].headers["x-environment-key"] == "env-key"
        assert server.identities[0].query == f"v={V1}"
        server.announce(V2)
        await until(lambda: client.version == V2)
        assert (await client.identity("ann", {"age": 30, "plan": "free"})).version == V2
        assert len(server.identities) == 2
    assert (await client.identity("ann")).source is Source.ENVIRONMENT, "after the end the best there is"


@pytest.mark.asyncio
async def test_an_identity_that_cannot_be_evaluated_gets_the_environments_flags() -> None:
    async with ScriptedServer() as server:
        async with client_of(server) as client:
            await server.close()
            flags = await client.identity("ann")
            assert flags.source is Source.ENVIRONMENT
            assert flags.value("banner") == "a"
            with pytest.raises(ConfigurationError, match="the trait 'plan'"):
                await client.identity("ann", {"plan": object()})
        with pytest.raises(ClientStoppedError):
            await client_of(server).identity("ann")


PAYING = {
    "id": 1,
    "name": "paying",
    "rules": [{"type": "ALL", "conditions": [{"operator": "EQUAL", "property_": "plan", "value": "pro"}], "rules": []}],
    "feature_states": [
        {
            "feature": {"id": 0, "name": "banner", "type": "STANDARD"},
            "enabled": True,
            "feature_state_value": "thank you",
            "featurestate_uuid": "10000000-0000-0000-0000-000000000000",
            "multivariate_feature_state_values": [],
        }
    ],
}


@pytest.mark.asyncio
async def test_with_local_evaluation_an_identity_costs_no_request_and_the_document_says_which_stream() -> None:
    async with (
        ScriptedServer(segments=[PAYING]) as server,
        client_of(server, environment_key="ser.secret", local_evaluation=True) as client,
    ):
        await until(lambda: client.is_current)
        assert client.value("banner") == "a"
        assert (await client.identity("ann", {"plan": "pro"})).value("banner") == "thank you"
        assert (await client.identity("bob")).value("banner") == "a"
        server.announce(V2, banner="b")
        await until(lambda: client.version == V2)
        assert (await client.identity("bob")).value("banner") == "b"
        assert {request.path for request in server.requests} == {
            "/sse/environments/env-key/stream",
            "/api/v1/environment-document/",
        }
        assert len(server.requests) == 3, "the document twice, one stream"


@pytest.mark.asyncio
async def test_polling_alone_follows_without_a_stream() -> None:
    async with ScriptedServer(etags=True) as server:
        async with client_of(server, streaming=False, poll_interval=0.1) as client:
            changes = client.changes()
            await until(lambda: len(server.documents) >= 3)
            assert client.status == Status.POLLING
            server.version, server.features = V2, {"banner": (True, "b")}
            assert (await next_of(changes)).value == "b"
            assert client.version == V2
        assert not server.streams
        assert all(request.headers.get("if-none-match") for request in server.documents[1:])


@pytest.mark.asyncio
async def test_without_streams_it_polls_and_goes_back_to_streaming_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    server = ScriptedServer(scripts=[cuts])
    async with server, client_of(server, poll_interval=0.2, request_timeout=2.0) as client:
        changes = client.changes()
        server.version, server.features = V2, {"banner": (True, "b")}
        assert (await next_of(changes)).value == "b", "by a poll"
        server.scripts = []
        await until(lambda: client.connected)
        asked = len(server.documents)
        await asyncio.sleep(0.5)
        assert len(server.documents) <= asked + 1, "no polls while there is a stream, but the one that was under way"
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@pytest.mark.asyncio
async def test_a_client_closed_before_its_start_stays_closed_and_frees_whoever_listens() -> None:
    client = FlagClient(environment_key="k", api_url=NOWHERE)
    changes = client.changes()
    await client.aclose()
    assert client.status is Status.CLOSED
    with pytest.raises(StopAsyncIteration):
        await anext(changes)
    with pytest.raises(ClientStoppedError, match="is closed"):
        await client.wait_until_ready(1)
    with pytest.raises(ClientStoppedError):
        client.start()


@pytest.mark.asyncio
async def test_closing_twice_at_once_does_not_break_off_the_closing_of_connections() -> None:
    closed: list[str] = []

    class Slow(httpx.AsyncHTTPTransport):
        async def aclose(self) -> None:
            await asyncio.sleep(0.05)
            await super().aclose()
            closed.append("whole")

    async with ScriptedServer() as server:
        client = client_of(server)
        with pytest.MonkeyPatch.context() as patch:

            async def made() -> httpx.AsyncClient:
                return httpx.AsyncClient(transport=Slow())

            patch.setattr("sdk_client.client.http_client", made)
            await client.__aenter__()
        closing = [asyncio.ensure_future(client.aclose())]
        await asyncio.sleep(0.02)
        closing += [asyncio.ensure_future(client.aclose()) for _ in range(3)]
        await asyncio.gather(*closing)
    assert closed == ["whole"]


@pytest.mark.asyncio
async def test_a_server_key_whose_stream_cannot_be_found_is_polled_with_until_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ScriptedServer() as server:
        with monkeypatch.context() as patch:
            patch.setattr("tests.sdk_client.scripted.serve_environment", answers(503))
            client = client_of(server, environment_key="ser.key", poll_interval=0.1)
            await client.__aenter__()
            server.announce(V2, banner="b")
            await until(lambda: client.value("banner") == "b")
            assert not server.streams
        await until(lambda: client.is_current)
        await client.aclose()


def test_a_client_whose_loop_was_closed_is_closed_and_can_be_told_so() -> None:
    with served() as server:

        async def begun() -> FlagClient:
            client = FlagClient(**server.arguments)
            client.start()
            await client.wait_until_ready(10)
            return client

        loop = asyncio.new_event_loop()
        client = loop.run_until_complete(begun())
        for task in asyncio.all_tasks(loop):  # as loops of notebooks and test runners do not: they complain
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        assert client.value("banner") == "a"
        assert client.status is Status.CLOSED
        assert not client.connected
        asyncio.run(client.aclose())
