from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from random import Random
from typing import Any

import httpx
import pytest

from sdk_client import (
    Backoff,
    Change,
    ClientStoppedError,
    ConfigurationError,
    Flag,
    KeyRefusedError,
    NotReadyError,
)
from sdk_client.flags import Source
from sdk_client.hooks import Hooks, StreamOpened, Update
from sdk_client.status import Status
from sdk_client.sync import SyncFlagClient
from tests.sdk_client.scripted import KEY, V1, V2, V3, Peer, answers, follow
from tests.sdk_client.scripted_thread import ServerThread, served, until

QUICK = Backoff(base=0.02, cap=0.1, least=0.0)
NOWHERE = "http://127.0.0.1:1"


def client_of(server: ServerThread, **settings: Any) -> SyncFlagClient:
    return SyncFlagClient(**{**server.arguments, "backoff": QUICK, **settings})


def ours() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("flagstream"))


def test_flags_are_at_hand_once_entered_and_stay_readable_once_closed() -> None:
    with served(features={"on": (True, "a"), "limit": (False, "7")}) as server:
        with client_of(server) as client:
            assert client.is_enabled("on")
            assert client.string("on", "") == "a"
            assert client.integer("limit", 0) == 7
            assert client.flags["limit"] == Flag("limit", enabled=False, value="7")
            assert client.version == V1
            until(lambda: client.is_current)
            assert client.connected
            until(lambda: client.status is Status.CURRENT)
            until(lambda: client.counts.streams_opened == 1)  # counted on another thread, once it is live
        until(lambda: client.status is Status.CLOSED and not client.connected)
        assert client.string("on", "") == "a"
        server.await_connections(0)


def test_an_iterator_blocks_until_a_change_comes_and_ends_with_the_client() -> None:
    with served() as server, client_of(server) as client:
        changes = client.changes()
        seen: list[Change] = []
        reader = threading.Thread(target=lambda: seen.extend(changes))
        until(lambda: client.connected)
        with pytest.raises(TimeoutError):
            changes.get(timeout=0.01)
        server.announce(V2, banner="b")
        first = changes.get(timeout=20)
        assert (first.old_value, first.value, first.version) == ("a", "b", V2)
        assert client.value("banner") == "b"
        reader.start()
        server.announce(V3, banner="c")
        until(lambda: seen)
        client.close()
        reader.join(20)
        assert [change.value for change in seen] == ["c"]
        with pytest.raises(ClientStoppedError):
            changes.get()
        assert list(client.changes()) == [], "one that is made later has ended already"


def test_an_iterator_can_be_cancelled_by_another_thread() -> None:
    with served() as server, client_of(server) as client:
        changes = client.changes()
        reader = threading.Thread(target=lambda: list(changes))
        reader.start()
        changes.cancel()
        reader.join(20)
        assert not reader.is_alive()


def test_callbacks_have_threads_of_their_own_and_a_slow_or_failing_one_holds_up_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "sdk_client")
    held = threading.Event()
    seen: list[tuple[Any, str]] = []

    def slow(_: Change) -> None:
        held.wait(60)

    def failing(change: Change) -> None:
        seen.append((change.value, threading.current_thread().name))
        raise SystemExit if change.value == "b" else ValueError

    with served() as server, client_of(server) as client:
        client.on_change(slow)
        stop = client.on_change(failing)
        until(lambda: client.connected)
        server.announce(V2, banner="b")
        until(lambda: len(seen) == 1)
        server.announce(V3, banner="c")
        until(lambda: len(seen) == 2)
        assert seen == [("b", "flagstream callback"), ("c", "flagstream callback")]
        until(lambda: client.counts.callback_errors == 2)
        stop()
        assert client.counts.callback_errors == 2
        server.announce(V3 + 1, banner="d")
        until(lambda: client.value("banner") == "d")
        assert len(seen) == 2
        held.set()
    assert ours() == []


def test_a_callback_may_ask_the_client_anything_and_close_it() -> None:
    answered: list[object] = []

    with served() as server:
        client = client_of(server)

        def callback(_: Change) -> None:
            client.wait_until_ready(10)
            client.close()
            answered.append(client.status)

        client.on_change(callback)
        client.start()
        until(lambda: client.connected)
        server.announce(V2, banner="b")
        until(lambda: answered)
        assert answered == [Status.CLOSED]
        until(lambda: ours() == [])


def test_waiting_on_the_clients_own_loop_is_refused_and_does_not_hang() -> None:
    refused: list[str] = []

    class Blocking(Hooks):
        def on_stream_opened(self, _: StreamOpened) -> None:
            for method in (client.wait_until_ready, client.close, client.changes().get, lambda: client.identity("u")):
                try:
                    method()
                except RuntimeError as error:
                    refused.append(str(error))

    with served() as server:
        client = client_of(server, hooks=Blocking())
        client.start()
        until(lambda: len(refused) == 4)
        assert all("must not block" in reason for reason in refused)
        server.announce(V2, banner="b")
        until(lambda: client.value("banner") == "b")
        client.close()


def test_hooks_are_told_from_the_constructor_on_or_from_when_they_are_added_until_they_are_removed() -> None:
    class Recording(Hooks):
        def __init__(self) -> None:
            self.versions: list[int] = []

        def on_update(self, update: Update) -> None:
            self.versions.append(update.version)

    first, second = Recording(), Recording()
    with served() as server, client_of(server, hooks=[first]) as client:
        remove = client.add_hooks(second)
        server.announce(V2, banner="b")
        until(lambda: second.versions == [V2])
        assert first.versions == [V1, V2]
        remove()
        remove()
        server.announce(V3, banner="c")
        until(lambda: first.versions == [V1, V2, V3])
        assert second.versions == [V2]


def test_an_identity_is_asked_for_and_waited_for() -> None:
    with served() as server, client_of(server) as client:
        mine = client.identity("user", {"plan": "gold"})
        assert mine.json("banner") == {
            "identifier": "user",
            "traits": [{"trait_key": "plan", "trait_value": "gold"}],
        }
        assert mine.source is Source.SERVER
        assert client.value("banner") == "a"
        with pytest.raises(ConfigurationError):
            client.identity("")
    assert client.identity("other").source is Source.ENVIRONMENT, "closed: nobody is asked any more"


def test_an_identity_before_the_start_is_refused() -> None:
    client = SyncFlagClient(environment_key=KEY, api_url=NOWHERE)
    with pytest.raises(ClientStoppedError):
        client.identity("user")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [({"ready_timeout": 0}, "ready_timeout"), ({"api_url": "nowhere"}, "api_url"), ({"spread": -1}, "spread")],
    ids=["timeout", "url", "spread"],
)
def test_arguments_that_cannot_work_are_refused_at_once(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        SyncFlagClient(**{"environment_key": KEY, "api_url": NOWHERE, **arguments})
    assert raised.value.argument == wrong


def test_entering_raises_without_flags_and_leaves_nothing_running() -> None:
    with pytest.raises(NotReadyError), SyncFlagClient(environment_key=KEY, api_url=NOWHERE, ready_timeout=0.1):
        pass
    with served() as server:
        server.server.document_scripts += [answers(401)] * 10_000
        with pytest.raises(KeyRefusedError), client_of(server):
            pass
        server.await_connections(0)
    assert ours() == []


def test_without_flags_the_defaults_are_answered_where_they_are_not_required() -> None:
    with SyncFlagClient(environment_key=KEY, api_url=NOWHERE, require_ready=False) as client:
        assert client.is_enabled("banner", default=True)
        assert client.flags.source is Source.NONE
        with pytest.raises(NotReadyError):
            client.wait_until_ready(0.05)


def test_it_is_started_once_closed_as_often_as_one_likes_and_waits_for_nothing_when_it_is_not_running() -> None:
    with served() as server:
        client = client_of(server)
        with pytest.raises(ClientStoppedError, match="was not started"):
            client.wait_until_ready(1)
        client.start()
        with pytest.raises(ClientStoppedError):
            client.start()
        client.wait_until_ready(20)
        client.close()
        client.close()
        client.wait_until_ready(1)
        with pytest.raises(ClientStoppedError):
            client.start()
    unused = SyncFlagClient(environment_key=KEY, api_url=NOWHERE)
    unused.close()
    with pytest.raises(ClientStoppedError, match="is closed"):
        unused.wait_until_ready(1)


def test_closing_frees_whoever_waits() -> None:
    client = SyncFlagClient(environment_key=KEY, api_url=NOWHERE, require_ready=False, backoff=QUICK)
    raised: list[Exception] = []

    def wait() -> None:
        try:
            client.wait_until_ready()
        except ClientStoppedError as error:
            raised.append(error)

    client.start()
    waiting = [threading.Thread(target=wait) for _ in range(5)]
    for thread in waiting:
        thread.start()
    client.close()
    for thread in waiting:
        thread.join(20)
    assert len(raised) == 5


def test_a_fault_of_the_client_reaches_whoever_listens_and_closes_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "sdk_client")

    class Broken(Random):
        def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - as Random has it
            raise ZeroDivisionError

    client = SyncFlagClient(environment_key=KEY, api_url=NOWHERE, random=Broken())
    changes = client.changes()
    client.start()
    with pytest.raises(ClientStoppedError, match="failed") as raised:
        changes.get(20)
    assert isinstance(raised.value.__cause__, ExceptionGroup)
    with pytest.raises(ClientStoppedError, match="failed"):
        next(changes)
    with pytest.raises(ClientStoppedError):
        client.wait_until_ready(20)
    assert client.status is Status.CLOSED
    with pytest.raises(ClientStoppedError):
        client.close()


def test_a_http_client_of_ones_own_is_made_for_it_used_and_closed() -> None:
    made: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        made.append(httpx.AsyncClient(headers={"X-Mine": "yes"}))
        return made[-1]

    with served() as server:
        with client_of(server, http=make):
            pass
        assert server.server.documents[0].headers["x-mine"] == "yes"
    assert [http.is_closed for http in made] == [True]


def test_a_double_for_tests_has_no_threads_and_calls_back_before_set_returns() -> None:
    client = SyncFlagClient.from_dict({"banner": True, "limit": 10})
    seen: list[tuple[Any, Any]] = []
    client.on_change(lambda change: seen.append((change.old_value, change.value)))
    changes = client.changes()
    client.set("limit", 20)
    client.set("banner", {"enabled": False})
    assert seen == [(10, 20), (None, None)]
    assert [changes.get(0).feature, changes.get(0).feature] == ["limit", "banner"]
    assert not client.is_enabled("banner")
    assert client.identity("user").integer("limit", 0) == 20
    client.remove("limit")
    assert client.integer("limit", 5) == 5
    until(lambda: client.status is Status.OFFLINE)
    client.wait_until_ready(1)
    assert ours() == []
    with client:
        assert ours() == []
    assert client.status is Status.CLOSED
    assert list(changes) == [Change("limit", Flag("limit", enabled=True, value=20), None, client.version)]


def test_flags_of_a_client_that_is_not_offline_cannot_be_set() -> None:
    client = SyncFlagClient(environment_key=KEY, api_url=NOWHERE)
    with pytest.raises(ConfigurationError):
        client.set("banner", state=True)


def test_a_coroutine_function_is_no_callback() -> None:
    async def callback(_: Change) -> None: ...

    with pytest.raises(TypeError, match="FlagClient"):
        SyncFlagClient.from_dict({}).on_change(callback)


def test_threads_that_read_while_flags_change_see_one_version_whole() -> None:
    torn: list[object] = []
    reads = itertools.count()
    done = threading.Event()

    def read(client: SyncFlagClient) -> None:
        last = 0
        while not done.is_set():
            flags = client.flags
            if flags.value("first") != flags.value("second") or flags.version < last:
                torn.append(flags)
            last = flags.version
            client.is_enabled("first")
            next(reads)

    with served(features={"first": (True, 0), "second": (True, 0)}) as server, client_of(server) as client:
        until(lambda: client.connected)
        threads = [threading.Thread(target=read, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        steps = itertools.count(1)

        def many_documents_have_come() -> bool:
            step = next(steps)
            server.announce(V2 + step, first=step, second=step)
            return client.counts.fetches > 5

        until(many_documents_have_come)
        last = next(steps) - 1
        until(lambda: client.value("first") == last)
        done.set()
        for thread in threads:
            thread.join(20)
        assert not torn
        assert next(reads) > 50


def test_asyncio_programs_may_use_it_from_their_own_loop() -> None:
    async def program(client: SyncFlagClient) -> Any:
        await asyncio.to_thread(client.wait_until_ready, 20)
        return client.value("banner")

    with served() as server, client_of(server) as client:
        assert asyncio.run(program(client)) == "a"


def test_a_client_costs_one_thread_and_gives_everything_back() -> None:
    with served() as server:
        with client_of(server) as client:
            until(lambda: client.connected)
            until(lambda: ours() == ["flagstream client"])
            client.on_change(print)
            assert ours() == ["flagstream callback", "flagstream client"]
        assert ours() == []


def test_a_stream_that_ends_is_followed_by_another() -> None:
    async def short(peer: Peer) -> None:
        await peer.head()
        await peer.event(V1)
        await peer.cut()

    with served([short, follow]) as server, client_of(server) as client:
        until(lambda: client.counts.streams_opened == 2)
        server.announce(V2, banner="b")
        until(lambda: client.value("banner") == "b")


def test_waiting_is_bounded_though_the_loop_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk_client.sync.MARGIN", 0.1)
    stuck, free = threading.Event(), threading.Event()

    class Stuck(Hooks):
        def on_update(self, _: Update) -> None:
            stuck.set()
            free.wait(60)

    with served() as server, client_of(server, request_timeout=0.1) as client:
        client.add_hooks(Stuck())
        until(lambda: client.connected)
        server.announce(V2, banner="b")
        assert stuck.wait(20)
        assert client.identity("user").source is Source.ENVIRONMENT
        assert client.value("banner") == "b"
        free.set()
