from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

import pytest

from sdk_client import (
    Backoff,
    Change,
    ClientStoppedError,
    ConfigurationError,
    Flag,
    FlagClient,
    KeyRefusedError,
    NotReadyError,
)
from tests.sdk_client.scripted import (
    KEY,
    V1,
    V2,
    V3,
    Peer,
    ScriptedServer,
    answers,
    cuts,
    document,
    follow,
    number,
    serve_document,
)

QUICK = Backoff(base=0.02, cap=0.1, least=0.0)


def client_of(server: ScriptedServer, **settings: object) -> FlagClient:
    return FlagClient(**{"environment_key": KEY, "api_url": server.url, "backoff": QUICK, **settings})  # type: ignore[arg-type]


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def next_of(changes: object) -> Change:
    async with asyncio.timeout(30):
        change: Change = await anext(changes)  # type: ignore[call-overload]
        return change


@pytest.mark.asyncio
async def test_flags_are_at_hand_once_entered_and_defaults_are_for_unknown_features_only() -> None:
    async with ScriptedServer(features={"on": (True, "a"), "off": (False, 7), "empty": (True, None)}) as server:
        async with client_of(server) as client:
            assert client.is_enabled("on")
            assert not client.is_enabled("off", default=True)
            assert client.is_enabled("unknown", default=True)
            assert client.value("on") == "a"
            assert client.value("off") == 7
            assert client.value("empty", "default") is None
            assert client.value("unknown", "default") == "default"
            assert client.flags["off"] == Flag("off", enabled=False, value=7)
            assert client.version == V1
            assert repr(client.updated_at) == number(V1)
            await until(lambda: client.is_current)
        assert not client.connected
        assert client.value("on") == "a"
    assert server.documents[0].headers["x-environment-key"] == KEY
    assert server.streams[0].path == f"/sse/environments/{KEY}/stream"


@pytest.mark.asyncio
async def test_a_change_is_fetched_at_its_version_and_told_with_old_and_new() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        changes = client.changes()
        await until(lambda: client.connected)
        server.announce(V2, banner="b", added=[1])
        first, second = await next_of(changes), await next_of(changes)
        assert (first.feature, first.old_value, first.value, first.version) == ("banner", "a", "b", V2)
        assert (first.old_enabled, first.enabled) == (True, True)
        assert (second.feature, second.old, second.new) == ("added", None, Flag("added", enabled=True, value=[1]))
        assert client.value("banner") == "b"
        assert client.version == V2
        assert server.documents[-1].query == f"v={V2}"
        del server.features["added"]
        server.announce(V3)
        gone = await next_of(changes)
        assert (gone.feature, gone.old_value, gone.new) == ("added", [1], None)


@pytest.mark.asyncio
async def test_the_first_event_of_a_stream_costs_no_fetch_when_the_flags_held_are_that_new() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.connected)
        server.announce(V2)
        await until(lambda: client.version == V2)
        assert len(server.documents) == 2
        assert not any(request.query for request in server.streams), "a query is another key in every cache"


@pytest.mark.asyncio
async def test_a_replay_of_many_versions_costs_one_fetch() -> None:
    async def replay(peer: Peer) -> None:
        await peer.head()
        for version in range(V1 - 50, V2 + 1):
            await peer.event(version)
        await peer.hold()

    async with ScriptedServer([replay]) as server, client_of(server) as client:
        server.version = V2
        await until(lambda: client.version == V2)
        assert client.is_current
        assert len(server.documents) <= 2


@pytest.mark.asyncio
async def test_versions_announced_during_a_fetch_cost_one_more_fetch_and_are_not_lost() -> None:
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        body = document(peer.server.features)
        await release.wait()
        await answers(200, body, X_Flagstream_Version=str(V2))(peer)

    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.connected)
        server.document_scripts.append(slow)
        server.announce(V2, banner="b")
        await until(lambda: len(server.documents) == 2)
        for step in range(1, 6):
            server.announce(V2 + step, banner=f"b{step}")
            await asyncio.sleep(0.01)
        assert len(server.documents) == 2, "one flight at a time"
        release.set()
        await until(lambda: client.value("banner") == "b5")
        assert len(server.documents) == 3
        assert server.documents[-1].query == f"v={V2 + 5}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [answers(500), answers(503, Retry_After="0"), cuts, answers(200, b"garbage"), answers(200, b"[{}]"), answers(404)],
    ids=["500", "503", "cut", "garbage", "no flags", "404"],
)
async def test_a_fetch_that_fails_never_leaves_the_client_deaf(fault: Callable[[Peer], object]) -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.connected)
        server.document_scripts += [fault] * 3  # type: ignore[list-item]
        server.announce(V2, banner="b")
        await until(lambda: client.value("banner") == "b")
        assert client.counts.fetch_errors >= 3
        assert client.is_current


@pytest.mark.asyncio
async def test_a_document_older_than_announced_is_fetched_again_three_times_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sdk_client.refetch.OLDER", (0.05, 0.1, 0.2))
    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.connected)
        before = len(server.documents)
        old = answers(200, document({"banner": (True, "a")}), X_Flagstream_Version=str(V1))
        server.document_scripts += [old] * 100
        server.announce(V2)
        await until(lambda: len(server.documents) == before + 4)
        await asyncio.sleep(0.5)  # more than twice the longest wait
        assert len(server.documents) == before + 4
        server.document_scripts.clear()
        server.announce(V3, banner="c")
        await until(lambda: client.value("banner") == "c")


@pytest.mark.asyncio
async def test_a_document_served_while_its_source_is_down_is_asked_for_until_it_is_back() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.connected)
        stale = answers(200, document({"banner": (True, "a")}), X_Flagstream_Version=str(V1), X_Flagstream_Stale="1")
        server.document_scripts += [stale] * 8
        server.announce(V2, banner="b")
        await until(lambda: client.value("banner") == "b")


@pytest.mark.asyncio
async def test_an_older_document_never_replaces_a_newer_one() -> None:
    async with ScriptedServer(version=V2, features={"banner": (True, "b")}) as server, client_of(server) as client:
        await until(lambda: client.connected)
        seen = client.changes()
        server.document_scripts.append(
            answers(200, document({"banner": (True, "a")}), X_Flagstream_Version=str(V1)),
        )
        server.announce(V3, banner="c")
        change = await next_of(seen)
        assert (change.old_value, change.value, change.version) == ("b", "c", V3)


@pytest.mark.asyncio
async def test_a_server_without_our_headers_works() -> None:
    async with ScriptedServer(labelled=False) as server, client_of(server) as client:
        await until(lambda: client.version == V1)
        server.announce(V2, banner="b")
        await until(lambda: client.value("banner") == "b" and client.version == V2)
        assert len(server.documents) == 3, "load, the first event (nothing said how new the load was), the change"


@pytest.mark.asyncio
async def test_a_server_key_finds_its_stream_by_the_environment_document() -> None:
    async with ScriptedServer() as server, client_of(server, environment_key="ser.secret") as client:
        await until(lambda: client.connected)
        assert server.streams[0].path == f"/sse/environments/{KEY}/stream"
        assert server.documents[0].headers["x-environment-key"] == "ser.secret"
        assert "x-environment-key" not in server.streams[0].headers


@pytest.mark.asyncio
async def test_a_client_key_given_with_a_server_key_saves_the_environment_document() -> None:
    async with ScriptedServer() as server, client_of(server, environment_key="ser.s", client_key="mine") as client:
        await until(lambda: client.connected)
        assert {request.path for request in server.requests} == {"/api/v1/flags/", "/sse/environments/mine/stream"}


@pytest.mark.asyncio
async def test_callbacks_plain_and_async_hear_every_change_in_order_and_may_raise() -> None:
    plain: list[object] = []
    slow: list[object] = []

    def fails(change: Change) -> None:
        plain.append(change.value)
        raise RuntimeError("the user's own mistake")

    async def takes_its_time(change: Change) -> None:
        await asyncio.sleep(0.01)
        slow.append(change.value)

    async with ScriptedServer() as server:
        client = client_of(server)
        client.on_change(fails)
        async with client:
            stop = client.on_change(takes_its_time)
            await until(lambda: client.connected)
            for step in range(5):
                server.announce(V2 + step, banner=step)
                await until(lambda step=step: client.value("banner") == step)  # type: ignore[misc]
            await until(lambda: len(slow) == len(plain) == 5)
            assert plain == slow == [0, 1, 2, 3, 4]
            assert client.counts.callback_errors == 5
            stop()
            server.announce(V3, banner="z")
            await until(lambda: len(plain) == 6)
        assert len(slow) == 5


@pytest.mark.asyncio
async def test_a_callback_whose_own_task_was_cancelled_is_called_again() -> None:
    heard: list[object] = []

    async def awaits_a_cancelled_task(change: Change) -> None:
        heard.append(change.value)
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        await task

    async with ScriptedServer() as server, client_of(server) as client:
        client.on_change(awaits_a_cancelled_task)
        await until(lambda: client.connected)
        for step in range(2):
            server.announce(V2 + step, banner=step)
            await until(lambda step=step: len(heard) == step + 1)  # type: ignore[misc]
        await until(lambda: client.counts.callback_errors == 2)


@pytest.mark.asyncio
async def test_a_server_that_cannot_speak_tls_is_a_failure_like_any_other() -> None:
    async with ScriptedServer() as server:
        https = server.url.replace("http:", "https:")
        async with client_of(server, api_url=https, require_ready=False) as client:
            await until(lambda: client.counts.fetch_errors >= 2 and client.counts.stream_errors >= 2)


@pytest.mark.asyncio
async def test_an_iteration_ends_when_the_client_closes_and_what_is_unread_is_read_first() -> None:
    async with ScriptedServer() as server:
        async with client_of(server) as client:
            changes = client.changes()
            await until(lambda: client.connected)
            server.announce(V2, banner="b")
            await until(lambda: client.version == V2)
        assert [change.value async for change in changes] == ["b"]
        assert [change async for change in client.changes()] == []


@pytest.mark.asyncio
async def test_entering_without_a_server_raises_within_the_time_given_and_says_why() -> None:
    server = ScriptedServer()
    await server.listen()
    await server.close()
    with pytest.raises(NotReadyError, match=r"no flags after 1 s: cannot reach the flags API") as caught:
        async with client_of(server, ready_timeout=1.0):  # in which the first refusal has to come, to be told
            raise AssertionError
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.last is not None


@pytest.mark.asyncio
async def test_without_require_ready_it_starts_on_defaults_and_loads_when_the_server_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sdk_client")
    server = ScriptedServer()
    await server.listen()
    await server.close()
    async with client_of(server, require_ready=False) as client:
        assert client.value("banner", "default") == "default"
        assert client.version == 0
        assert client.updated_at is None
        await until(lambda: client.counts.fetch_errors >= 3)
        await server.listen()
        await client.wait_until_ready(10)
        assert client.value("banner") == "a"
        await until(lambda: client.connected)
        await server.close()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([line for line in warnings if "could not be fetched" in line]) == 1, "once, not once an attempt"
    assert not [line for line in warnings if KEY in line], "keys are not logged"


@pytest.mark.asyncio
async def test_a_refused_key_is_told_at_once_and_recovers_when_the_key_becomes_known() -> None:
    refused = answers(401, b'{"detail": "bad key"}')
    async with ScriptedServer(document_scripts=[refused]) as server:
        with pytest.raises(KeyRefusedError, match="refused the environment key"):
            async with client_of(server):
                raise AssertionError
        server.document_scripts = [refused] * 2
        async with client_of(server, require_ready=False) as client:
            with pytest.raises(KeyRefusedError):
                await client.wait_until_ready(5)
            await until(lambda: client.value("banner") == "a")
            await client.wait_until_ready(5)


@pytest.mark.asyncio
async def test_closing_cancels_whatever_goes_on_and_leaves_nothing_behind() -> None:
    async def never(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer([never], document_scripts=[never]) as server:
        before = asyncio.all_tasks()
        client = client_of(server, require_ready=False)
        async with client:
            await until(lambda: len(server.requests) == 2)
            mine = asyncio.all_tasks() - before
            assert mine
        assert all(task.done() for task in mine if "ScriptedServer" not in repr(task))
        await until(lambda: not server._peers)
        with pytest.raises(ClientStoppedError):
            await client.wait_until_ready(1)
        with pytest.raises(ClientStoppedError):
            client.start()
        await client.aclose()


@pytest.mark.asyncio
async def test_cancelling_an_entry_closes_the_client() -> None:
    async def never(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer(document_scripts=[never]) as server:

        async def enter() -> None:
            async with client_of(server):
                raise AssertionError

        task = asyncio.ensure_future(enter())
        await until(lambda: len(server.documents) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not server._peers)


@pytest.mark.asyncio
async def test_a_fault_of_our_own_is_loud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedServer() as server:
        client = client_of(server)
        client.start()
        changes = client.changes()
        await until(lambda: client.connected)
        monkeypatch.setattr(client._updater.subscription.refetch, "announce", None)
        server.announce(V2)
        with pytest.raises(ClientStoppedError, match="failed") as raised:
            await next_of(changes)
        assert isinstance(raised.value.__cause__, ExceptionGroup)
        with pytest.raises(ClientStoppedError):
            await client.aclose()
        assert "the flag client failed" in caplog.text


@pytest.mark.asyncio
async def test_an_abandoned_iterator_costs_nothing() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        for _ in range(100):
            client.changes()
        gc.collect()
        assert len(client._listeners._changes) == 0


@pytest.mark.asyncio
async def test_a_document_without_end_is_given_up() -> None:
    async def drip(peer: Peer) -> None:
        await peer.head(content_type="application/json")
        while True:
            await peer.send(b" ")
            await asyncio.sleep(0.01)

    async with ScriptedServer(document_scripts=[drip]) as server, client_of(server, request_timeout=0.2) as client:
        assert client.value("banner") == "a"
        assert client.counts.fetch_errors >= 1, "the one without end, and what else took longer than 0.2 s"


@pytest.mark.asyncio
async def test_redirects_are_not_followed() -> None:
    redirect = answers(302, Location="/api/v1/flags/")
    async with ScriptedServer(document_scripts=[redirect]) as server, client_of(server) as client:
        assert client.counts.fetch_errors == 1
        assert len(server.documents) == 2


@pytest.mark.asyncio
async def test_a_spread_delays_the_fetch_but_many_changes_in_it_cost_one() -> None:
    async with ScriptedServer() as server, client_of(server, spread=0.4) as client:
        await until(lambda: client.connected)
        for step in range(10):
            server.announce(V2 + step, banner=step)
            await asyncio.sleep(0)
        await until(lambda: client.value("banner") == 9)
        assert len(server.documents) <= 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"environment_key": "with.dot"}, "environment_key must be 1 to 128 letters"),
        ({"environment_key": ""}, "environment_key must be"),
        ({"environment_key": "ser."}, "environment_key must be"),
        ({"environment_key": "k" * 129}, "environment_key must be"),
        ({"client_key": "ser.no"}, "client_key must be"),
        ({"api_url": "flags.example.com"}, "api_url must begin with http"),
        ({"api_url": "http://"}, "api_url must begin with http"),
        ({"api_url": "http://h/?a=1"}, "api_url must have neither a query"),
        ({"stream_url": "ftp://h"}, "stream_url must begin with http"),
        ({"api_url": "http://h:port"}, "api_url is not a URL"),
        ({"spread": -1}, "spread must be 0 seconds or more"),
        ({"heartbeat": 0}, "heartbeat must be above 0 seconds"),
        ({"ready_timeout": 0}, "ready_timeout must be above"),
        ({"request_timeout": float("nan")}, "request_timeout must be above"),
    ],
)
def test_arguments_that_cannot_work_are_refused_by_name(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FlagClient(**{"environment_key": KEY, "api_url": "http://127.0.0.1:1", **settings})  # type: ignore[arg-type]


@pytest.mark.asyncio
@pytest.mark.parametrize("suffix", ["", "/", "/api/v1", "/api/v1/"])
async def test_the_api_url_may_be_written_as_flagsmith_writes_it(suffix: str) -> None:
    async with ScriptedServer([follow]) as server, client_of(server, api_url=server.url + suffix) as client:
        await until(lambda: client.connected)
        assert {request.path for request in server.requests} == {"/api/v1/flags/", f"/sse/environments/{KEY}/stream"}


@pytest.mark.asyncio
async def test_an_entry_fails_when_the_client_is_closed_from_elsewhere() -> None:
    async def never(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer(document_scripts=[never, serve_document]) as server:
        client = client_of(server, require_ready=False)
        async with client:
            waiting = asyncio.ensure_future(client.wait_until_ready())
            await until(lambda: len(server.documents) == 1)
            await client.aclose()
            with pytest.raises(ClientStoppedError, match="is closed"):
                await waiting
