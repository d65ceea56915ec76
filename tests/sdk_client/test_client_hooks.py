"""Hooks and status: what a client tells of itself, and the rotation of its streams as it is seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import Random
from typing import Any

import pytest

from sdk_client import End, EndKind, Fetch, FetchOutcome, Hooks, Status, StreamOpened, Update
from tests.sdk_client.scripted import V1, V2, V3, Peer, ScriptedServer, answers, cuts, follow, serve_document, tell
from tests.sdk_client.test_client import client_of, until


class Heard(Hooks):
    """Keeps everything, in order and by kind."""

    def __init__(self) -> None:
        self.opened: list[StreamOpened] = []
        self.ended: list[End] = []
        self.fetches: list[Fetch] = []
        self.updates: list[Update] = []
        self.states: list[Status] = []

    def on_stream_opened(self, stream: StreamOpened) -> None:
        self.opened.append(stream)

    def on_stream_ended(self, end: End) -> None:
        self.ended.append(end)

    def on_fetch(self, fetch: Fetch) -> None:
        self.fetches.append(fetch)

    def on_update(self, update: Update) -> None:
        self.updates.append(update)

    def on_status(self, status: Status) -> None:
        self.states.append(status)


@pytest.mark.asyncio
async def test_hooks_hear_of_streams_fetches_updates_and_states() -> None:
    heard = Heard()
    async with ScriptedServer() as server:
        async with client_of(server, hooks=heard) as client:
            await until(lambda: client.is_current)
            server.announce(V2, banner="b")
            await until(lambda: client.version == V2)
            assert client.status.value == "current"
        assert client.status.value == "closed"
    assert len(heard.opened) == 1
    assert 0 < heard.opened[0].seconds < 10
    assert [fetch.outcome for fetch in heard.fetches] == [FetchOutcome.NEW, FetchOutcome.NEW]
    assert [fetch.version for fetch in heard.fetches] == [V1, V2]
    assert [update.version for update in heard.updates] == [V1, V2]
    assert heard.updates[0].changes == ()
    (change,) = heard.updates[1].changes
    assert (change.feature, change.old_value, change.value) == ("banner", "a", "b")
    assert 0 < heard.updates[1].staleness < 10
    assert heard.states == [Status.CURRENT, Status.CLOSED]


@pytest.mark.asyncio
async def test_hooks_hear_why_a_stream_ended_and_why_a_fetch_brought_nothing() -> None:
    heard = Heard()
    scripts = [answers(503), cuts, follow]
    documents = [serve_document, answers(500), answers(200, b"nonsense")]
    async with (
        ScriptedServer(scripts, document_scripts=documents, etags=True) as server,
        client_of(server, hooks=[heard]) as client,
    ):
        await until(lambda: client.is_current)
        server.announce(V2)
        await until(lambda: client.version == V2)
    assert [(end.kind, end.is_error) for end in heard.ended] == [
        (EndKind.REFUSED, True),
        (EndKind.UNREACHABLE, True),
    ]
    outcomes = [fetch.outcome for fetch in heard.fetches]
    assert outcomes == [FetchOutcome.NEW, FetchOutcome.FAILED, FetchOutcome.FAILED, FetchOutcome.UNCHANGED]
    assert heard.fetches[1].error is not None
    assert heard.fetches[1].error.status == 500
    assert "JSON" in str(heard.fetches[2].error)


@pytest.mark.asyncio
async def test_a_hook_that_raises_is_logged_and_counted_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Heard):
        def on_update(self, update: Update) -> None:  # noqa: ARG002 - it has its mind elsewhere
            raise RuntimeError("the user's own fault")

    heard = Heard()
    async with ScriptedServer() as server, client_of(server, hooks=[Broken(), heard]) as client:
        await until(lambda: client.is_current)
        server.announce(V2)
        await until(lambda: client.version == V2)
        assert client.counts.hook_errors == 2
    assert len(heard.updates) == 2
    assert "a hook of Broken failed" in caplog.text


@pytest.mark.asyncio
async def test_hooks_may_be_added_and_removed_while_it_runs() -> None:
    heard = Heard()
    async with ScriptedServer() as server, client_of(server) as client:
        await until(lambda: client.is_current)
        remove = client.add_hooks(heard)
        server.announce(V2)
        await until(lambda: client.version == V2)
        remove()
        server.announce(V3)
        await until(lambda: client.version == V3)
    assert [update.version for update in heard.updates] == [V2]


class Soonest(Random):
    """Draws the least: the next stream is opened at the first moment that the rules allow, long before it is needed."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - as Random has it
        return a


@pytest.mark.asyncio
async def test_streams_are_rotated_without_a_moment_in_which_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sdk_client")
    heard = Heard()
    ends: list[str] = []

    async def ten_seconds(peer: Peer) -> None:
        await peer.head(X_Stream_Lifetime="10", X_Stream_Join_Window="0")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await tell(peer)
                return
        ends.append("left to its end")
        await peer.end()

    gaps = 0
    async with ScriptedServer([ten_seconds]) as server, client_of(server, hooks=heard, random=Soonest()) as client:
        await until(lambda: client.is_current)
        version = V1
        while len(heard.opened) < 3:
            version += 10_000
            server.announce(version)
            await until(lambda: client.version == server.version)
            gaps += not client.connected
    assert gaps == 0
    assert ends == []
    assert {end.kind for end in heard.ended} == {EndKind.REPLACED}
    assert max(update.staleness for update in heard.updates) < 2.5, "not only with the next stream"
    assert client.counts.stream_errors == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def empty(peer: Peer) -> None:
    await peer.head()
    await peer.end()


@pytest.mark.asyncio
async def test_one_line_when_the_streams_go_and_one_when_they_are_back_for_good(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdk_client.updater.LASTING", 0.5)
    caplog.set_level(logging.INFO, "sdk_client")
    faults: list[Any] = [cuts, answers(500), empty, answers(404), empty, cuts, follow]
    async with ScriptedServer(faults) as server, client_of(server) as client:
        await until(lambda: client.connected)
        await until(lambda: "is back" in caplog.text)
    lines = [record.getMessage() for record in caplog.records if "stream" in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith("the flag stream is down (")
    assert lines[1] == "the flag stream is back"
