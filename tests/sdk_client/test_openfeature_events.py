from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("openfeature", reason="the extra flagstream[openfeature] is not installed")

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
from openfeature.provider import ProviderStatus

from sdk_client import Backoff, FlagClient
from sdk_client.openfeature import FlagstreamProvider
from sdk_client.openfeature.announcer import Announcer, State
from sdk_client.openfeature.watch import READY, Watch
from tests.sdk_client.scripted import KEY, V1, V2, V3, Peer, ScriptedServer, answers, cuts

QUICK = Backoff(base=0.02, cap=0.1, least=0.0)
CHANGED = ProviderEvent.PROVIDER_CONFIGURATION_CHANGED
USER = EvaluationContext("user-1", {"plan": "paid"})
ASKED = {"identifier": "user-1", "traits": [{"trait_key": "plan", "trait_value": "paid"}]}

Event = tuple[ProviderEvent, EventDetails]

register = getattr(api, "set_provider_and_wait", api.set_provider)  # up to 0.9, set_provider waits

OLD = register is api.set_provider
"""Up to 0.9 the handlers of a domain's client miss its first event, for the domain has no provider yet."""


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture(autouse=True)
async def _no_providers_are_left() -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(api.clear_providers)


@pytest.fixture
def _a_gap_is_a_status_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk_client.subscription.GRACE", 1.0)


def provider_of(server: ScriptedServer, **settings: Any) -> FlagstreamProvider:
    return FlagstreamProvider(**{"environment_key": KEY, "api_url": server.url, "backoff": QUICK, **settings})


def client_of(server: ScriptedServer, **settings: Any) -> FlagClient:
    return FlagClient(**{"environment_key": KEY, "api_url": server.url, "backoff": QUICK, **settings})


class Heard:
    """Every event of a domain, by a handler of its client, and of everybody, by a handler of the API."""

    def __init__(self, domain: str) -> None:
        self.client: OpenFeatureClient = api.get_client(domain)
        self.by_client: list[Event] = []
        self.by_api: list[Event] = []
        for event in ProviderEvent:
            self.client.add_handler(event, partial(self._hear, self.by_client, event))
            api.add_handler(event, partial(self._hear, self.by_api, event))

    def _hear(self, heard: list[Event], event: ProviderEvent, details: EventDetails) -> None:
        if details.provider_name == "Flagstream":  # the provider before ours was ready at once
            heard.append((event, details))

    async def take(self, event: ProviderEvent) -> EventDetails:
        """Wait until both have heard of an event, and forget it."""
        details = await self._take(event, self.by_api)
        if not OLD:
            assert await self._take(event, self.by_client) == details
        return details

    async def _take(self, event: ProviderEvent, heard: list[Event]) -> EventDetails:
        await until(lambda: any(each == event for each, _ in heard))
        index = next(index for index, (each, _) in enumerate(heard) if each == event)
        return heard.pop(index)[1]

    def stands(self, status: ProviderStatus) -> bool:
        return self.client.get_provider_status() is status


async def started(provider: FlagstreamProvider, domain: str) -> Heard:
    """Register a provider and wait for it to be ready, with its events heard from the beginning."""
    heard = Heard(domain)
    await asyncio.to_thread(register, provider, domain)
    await heard.take(ProviderEvent.PROVIDER_READY)
    return heard


@pytest.mark.asyncio
async def test_a_provider_is_ready_when_its_flags_are_there() -> None:
    async with ScriptedServer() as server:
        heard = await started(provider_of(server), "ready")
        assert heard.stands(ProviderStatus.READY)
        details = heard.client.get_string_details("banner", "")
        assert (details.value, details.reason) == ("a", Reason.STATIC)
        assert details.flag_metadata == {"enabled": True, "version": V1, "source": "server"}


@pytest.mark.asyncio
async def test_a_change_is_told_by_name_and_has_been_applied_when_it_is() -> None:
    async with ScriptedServer() as server:
        heard = await started(provider_of(server), "change")
        await until(lambda: len(server.streams) == 1)
        server.announce(V2, banner="b", new=1)
        details = await heard.take(CHANGED)
        assert details.flags_changed == ["banner", "new"]
        assert details.metadata == {"version": V2}
        assert str(V2) in (details.message or "")
        assert heard.client.get_string_value("banner", "") == "b"
        server.announce(V3)  # a segment, perhaps: no flag of everybody's is another one
        details = await heard.take(CHANGED)
        assert details.flags_changed is None
        assert not heard.by_api
        assert heard.stands(ProviderStatus.READY)


@pytest.mark.usefixtures("_a_gap_is_a_status_soon")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.asyncio
async def test_a_server_that_dies_makes_the_provider_stale_and_its_return_ready(kind: str) -> None:
    async with ScriptedServer() as server, client_of(server, poll_interval=0.2) as client:
        provider = provider_of(server, poll_interval=0.2) if kind == "sync" else FlagstreamProvider(client)
        heard = await started(provider, "outage")
        await until(lambda: len(server.streams) == (2 if kind == "sync" else 1))
        await server.close()
        await until(lambda: heard.stands(ProviderStatus.STALE))
        details = await heard.take(ProviderEvent.PROVIDER_STALE)
        assert "stay as they are" in (details.message or "")
        kept = heard.client.get_string_details("banner", "")
        assert (kept.value, kept.reason) == ("a", Reason.STALE)
        server.version, server.features = V2, {"banner": (True, "b")}
        await server.listen()
        await heard.take(ProviderEvent.PROVIDER_READY)
        await heard.take(CHANGED)
        await until(lambda: heard.stands(ProviderStatus.READY))
        assert heard.client.get_string_details("banner", "").reason == Reason.STATIC


@pytest.mark.asyncio
async def test_a_status_that_changed_before_it_was_listened_to_is_not_taken_for_the_one_there_is() -> None:
    told: list[ProviderEvent] = []
    announcer = Announcer(lambda event, _: told.append(event), lambda: True)
    async with ScriptedServer() as server:
        client = client_of(server)
        watch = Watch(announcer, client)
        async with client:
            client.add_hooks(watch)
            announcer.resume(READY)
            watch.tell()
            await until(lambda: client.is_current)
            server.announce(V2, banner="b")
            await until(lambda: bool(told))
            assert told == [CHANGED], "not that the server had not answered yet"
            announcer.close()


@pytest.mark.asyncio
async def test_a_refused_key_is_fatal_until_it_is_accepted() -> None:
    async with ScriptedServer(document_scripts=[answers(401)] * 10_000) as server:
        heard = Heard("refused")
        try:
            await asyncio.to_thread(register, provider_of(server), "refused")
        except OpenFeatureError as error:  # since 0.10
            assert error.error_code is ErrorCode.PROVIDER_FATAL  # noqa: PT017 - older ones raise nothing
        details = await heard.take(ProviderEvent.PROVIDER_ERROR)
        assert details.error_code is ErrorCode.PROVIDER_FATAL
        assert heard.stands(ProviderStatus.FATAL)
        answer = heard.client.get_boolean_details("banner", False)
        assert (answer.value, answer.error_code) == (False, ErrorCode.PROVIDER_FATAL)
        server.document_scripts.clear()
        await heard.take(ProviderEvent.PROVIDER_READY)
        assert heard.client.get_string_value("banner", "") == "a"


@pytest.mark.asyncio
async def test_a_key_refused_later_is_an_error_that_takes_no_flags_away() -> None:
    async with ScriptedServer() as server:
        heard = await started(provider_of(server), "revoked")
        await until(lambda: len(server.streams) == 1)
        server.document_scripts.extend([answers(403)] * 10_000)
        server.announce(V2, banner="b")
        details = await heard.take(ProviderEvent.PROVIDER_ERROR)
        assert details.error_code is ErrorCode.GENERAL
        assert heard.stands(ProviderStatus.ERROR)
        assert "refused" in (details.message or "")
        assert heard.client.get_string_value("banner", "") == "a"
        server.document_scripts.clear()
        await heard.take(ProviderEvent.PROVIDER_READY)
        await heard.take(CHANGED)
        assert heard.client.get_string_value("banner", "") == "b"


@pytest.mark.asyncio
async def test_no_flags_in_time_is_an_error_and_defaults_until_they_come() -> None:
    async with ScriptedServer([cuts], document_scripts=[answers(500)] * 10_000) as server:
        heard = Heard("late")
        try:
            await asyncio.to_thread(register, provider_of(server, ready_timeout=0.1), "late")
        except OpenFeatureError as error:  # since 0.10
            assert error.error_code is ErrorCode.PROVIDER_NOT_READY  # noqa: PT017 - older ones raise nothing
        details = await heard.take(ProviderEvent.PROVIDER_ERROR)
        assert details.error_code is ErrorCode.PROVIDER_NOT_READY
        assert heard.stands(ProviderStatus.ERROR)
        answer = heard.client.get_string_details("banner", "default")
        assert (answer.value, answer.error_code) == ("default", ErrorCode.PROVIDER_NOT_READY)
        await server.close()
        for answer in (
            await asyncio.to_thread(heard.client.get_string_details, "banner", "default", USER),
            await heard.client.get_string_details_async("banner", "default", USER),
        ):
            assert (answer.value, answer.error_code) == ("default", ErrorCode.GENERAL)
        await server.listen()
        server.document_scripts.clear()
        server.scripts.clear()
        await heard.take(ProviderEvent.PROVIDER_READY)
        assert heard.client.get_string_value("banner", "") == "a"


@pytest.mark.asyncio
async def test_flags_brought_along_make_it_ready_and_then_stale_until_the_server_answers() -> None:
    async with ScriptedServer([cuts], document_scripts=[answers(500)] * 10_000) as server:
        heard = await started(provider_of(server, bootstrap={"banner": "z"}), "bootstrap")
        await heard.take(ProviderEvent.PROVIDER_STALE)
        assert heard.stands(ProviderStatus.STALE)
        answer = heard.client.get_string_details("banner", "")
        assert (answer.value, answer.reason) == ("z", Reason.STALE)
        server.document_scripts.clear()
        server.scripts.clear()
        await heard.take(ProviderEvent.PROVIDER_READY)
        assert (await heard.take(CHANGED)).flags_changed == ["banner"]
        assert heard.client.get_string_details("banner", "").reason == Reason.STATIC


@pytest.mark.asyncio
async def test_two_domains_are_two_environments() -> None:
    async with ScriptedServer() as one, ScriptedServer(features={"banner": (True, "other")}) as two:
        first = await started(provider_of(one), "one")
        second = Heard("two")
        await asyncio.to_thread(register, provider_of(two), "two")
        await second._take(ProviderEvent.PROVIDER_READY, second.by_api)
        assert first.client.get_string_value("banner", "") == "a"
        assert second.client.get_string_value("banner", "") == "other"
        await until(lambda: len(two.streams) == 1)
        two.announce(V2, banner="more")
        await second._take(CHANGED, second.by_client)
        assert not first.by_client
        await until(lambda: any(event is CHANGED for event, _ in first.by_api), 20)


def threads() -> set[threading.Thread]:
    """Threads that a provider may have begun; the SDK's own and the event loop's stay for others."""
    return {each for each in threading.enumerate() if not each.name.startswith(("openfeature-event", "asyncio_"))}


@pytest.mark.asyncio
async def test_a_provider_that_is_replaced_leaves_neither_thread_nor_stream() -> None:
    async with ScriptedServer() as old, ScriptedServer(features={"banner": (True, "new")}) as new:
        before = threads()
        heard = await started(provider_of(old), "replaced")
        await until(lambda: len(old.streams) == 1)
        await asyncio.to_thread(register, provider_of(new), "replaced")
        assert heard.client.get_string_value("banner", "") == "new"
        await until(lambda: not old._peers)
        await asyncio.to_thread(api.clear_providers)
        await until(lambda: not new._peers and threads() <= before)


@pytest.mark.asyncio
async def test_a_shutdown_may_come_twice_and_be_taken_back() -> None:
    async with ScriptedServer() as server:
        provider = provider_of(server)
        heard = await started(provider, "again")
        await asyncio.to_thread(provider.shutdown)
        await asyncio.to_thread(provider.shutdown)
        answer = heard.client.get_string_details("banner", "default")
        assert (answer.value, answer.error_code) == ("default", ErrorCode.PROVIDER_NOT_READY)
        await asyncio.to_thread(api.clear_providers)
        heard = await started(provider, "again")
        await until(lambda: len(server._peers) > 0)
        server.announce(V2, banner="b")
        await heard.take(CHANGED)
        assert heard.client.get_string_value("banner", "") == "b"


@pytest.mark.asyncio
async def test_a_shutdown_ends_an_initialisation_that_waits() -> None:
    async def silent(peer: Peer) -> None:
        await peer.hold()

    async with ScriptedServer([silent], document_scripts=[silent]) as server:
        before = threads()
        provider = provider_of(server, ready_timeout=60.0)
        waiting = asyncio.create_task(asyncio.to_thread(register, provider, "waiting"))
        await until(lambda: len(server.documents) == 1)
        await asyncio.to_thread(provider.shutdown)
        result = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert result is None or isinstance(result, OpenFeatureError)  # raised since 0.10
        await until(lambda: not server._peers and threads() <= before)
        provider.attach(lambda *_: None)
        provider.shutdown()
        with pytest.raises(OpenFeatureError, match="shut down before"):
            provider.initialize(EvaluationContext())


@pytest.mark.asyncio
async def test_a_handler_that_takes_its_time_holds_up_no_flags() -> None:
    release = threading.Event()

    def wait(_: EventDetails) -> None:
        release.wait(30)

    async with ScriptedServer() as server:
        heard = await started(provider_of(server), "slow")
        await until(lambda: len(server.streams) == 1)
        heard.client.add_handler(CHANGED, wait)
        try:
            for step in range(1, 4):
                server.announce(V1 + step, banner=f"b{step}")
                await until(lambda step=step: heard.client.get_string_value("banner", "") == f"b{step}")  # type: ignore[misc]
        finally:
            release.set()
        await heard.take(CHANGED)


@pytest.mark.asyncio
async def test_an_async_client_is_used_from_its_own_loop_from_threads_and_from_other_loops() -> None:
    async with ScriptedServer() as server, client_of(server) as client:
        heard = Heard("async")
        api.set_provider(FlagstreamProvider(client), "async")
        await heard.take(ProviderEvent.PROVIDER_READY)
        assert heard.client.get_string_value("banner", "") == "a"
        refused = heard.client.get_object_details("banner", {}, USER)
        assert (refused.value, refused.error_code) == ({}, ErrorCode.GENERAL)
        assert "_async" in (refused.error_message or "")

        def elsewhere() -> FlagEvaluationDetails[Any]:
            return asyncio.run(heard.client.get_object_details_async("banner", {}, USER))

        for answer in (
            await heard.client.get_object_details_async("banner", {}, USER),
            await asyncio.to_thread(elsewhere),
            await asyncio.to_thread(heard.client.get_object_details, "banner", {}, USER),
            heard.client.get_object_details("banner", {}, USER),  # what is remembered needs no wait
        ):
            assert (answer.value, answer.reason) == (ASKED, Reason.TARGETING_MATCH)
        assert len(server.identities) == 1
    await heard.take(ProviderEvent.PROVIDER_ERROR)
    assert heard.client.get_string_details("banner", "").reason == Reason.STALE, "a closed client keeps its flags"


@pytest.mark.asyncio
async def test_a_client_that_is_not_ready_is_not_waited_for_on_its_own_loop() -> None:
    async with (
        ScriptedServer([cuts], document_scripts=[answers(500)] * 10_000) as server,
        client_of(server, require_ready=False) as client,
    ):
        heard = Heard("own loop")
        try:
            register(FlagstreamProvider(client), "own loop")
        except OpenFeatureError as error:  # since 0.10
            assert "to_thread" in (error.error_message or "")  # noqa: PT017 - older ones raise nothing
        await heard.take(ProviderEvent.PROVIDER_ERROR)
        server.document_scripts.clear()
        await heard.take(ProviderEvent.PROVIDER_READY)


@pytest.mark.asyncio
async def test_a_loop_that_is_busy_is_not_waited_for_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk_client.openfeature.access.MARGIN", 0.1)
    async with ScriptedServer() as server, client_of(server) as client:
        waiting: concurrent.futures.Future[None] = concurrent.futures.Future()

        def initialize() -> None:
            try:
                FlagstreamProvider(client, ready_timeout=0.1).initialize(EvaluationContext())
            except OpenFeatureError as error:
                waiting.set_exception(error)
            else:
                waiting.set_result(None)

        threading.Thread(target=initialize).start()
        # Flags are there, so the initialisation ends well, if late; what matters is that it ends while we block.
        assert waiting.result(20) is None


@pytest.mark.asyncio
async def test_a_targeting_key_asks_for_that_identity_with_the_attributes_as_traits() -> None:
    async with ScriptedServer() as server:
        heard = await started(provider_of(server), "identity")
        sync = await asyncio.to_thread(heard.client.get_object_details, "banner", {}, USER)
        other = await heard.client.get_object_details_async("banner", {}, USER)
        for answer in (sync, other):
            assert (answer.value, answer.reason) == (ASKED, Reason.TARGETING_MATCH)
        assert [json.loads(request.body) for request in server.identities] == [ASKED], "asked once a change"
        anybody = heard.client.get_string_details("banner", "", EvaluationContext(None, {"plan": "paid"}))
        assert (anybody.value, anybody.reason) == ("a", Reason.STATIC)


@pytest.mark.asyncio
async def test_identities_may_be_left_out() -> None:
    async with ScriptedServer() as server:
        heard = await started(provider_of(server, identities="never"), "never")
        assert heard.client.get_string_details("banner", "", USER).reason == Reason.STATIC
        assert not server.identities


@pytest.mark.asyncio
async def test_identities_evaluated_here_cost_no_request_on_any_thread() -> None:
    pytest.importorskip("flag_engine", reason="the extra flagstream[local] is not installed")
    settings: dict[str, Any] = {"environment_key": "ser.key", "client_key": KEY, "local_evaluation": True}
    async with ScriptedServer() as server, client_of(server, **settings) as client:
        for domain, provider in (("here", provider_of(server, **settings)), ("loop", FlagstreamProvider(client))):
            await asyncio.to_thread(register, provider, domain)
            for answer in (
                api.get_client(domain).get_string_details("banner", "", USER),
                await api.get_client(domain).get_string_details_async("banner", "", USER),
            ):
                assert (answer.value, answer.reason) == ("a", Reason.DEFAULT), "no rule gave it anything of its own"
        assert not server.identities


@pytest.mark.asyncio
async def test_what_waits_to_be_told_is_bounded_and_one_bad_handler_costs_no_other_event() -> None:
    told: list[Any] = []
    release = threading.Event()

    def emit(event: ProviderEvent, details: Any) -> None:
        told.append((event, details.flags_changed))
        release.wait(20)
        raise ValueError("the handler's own fault")

    announcer = Announcer(emit, lambda: True)
    announcer.pause()
    announcer.changed(["before"], 1)
    announcer.resume(READY)
    for step in range(1000):
        announcer.changed([f"feature-{step % 3}"], step + 1)
        announcer.state(State(ProviderEvent.PROVIDER_STALE))
        announcer.state(READY)
    await until(lambda: bool(told))
    release.set()
    await until(lambda: announcer._thread is None)
    assert 1 <= len(told) <= 6
    assert {name for _, names in told for name in names or ()} == {"feature-0", "feature-1", "feature-2"}
    announcer.close()
    announcer.changed(["after"], 2000)
    assert announcer._thread is None


FORKS_AND_EXITS = """
import logging, os, sys
from openfeature import api
from openfeature.event import ProviderEvent
from sdk_client.openfeature import FlagstreamProvider

logging.basicConfig(level=logging.WARNING)
provider = FlagstreamProvider(environment_key="env-key", api_url=sys.argv[1])
getattr(api, "set_provider_and_wait", api.set_provider)(provider)
client = api.get_client()
assert client.get_string_value("banner", "") == "a"
if (child := os.fork()) == 0:
    import threading
    changed = threading.Event()
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda details: changed.set())
    assert client.get_string_value("banner", "") == "a"
    print("forked", flush=True)
    assert changed.wait(20)
    assert client.get_string_value("banner", "") == "b"
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
api.add_handler(ProviderEvent.PROVIDER_ERROR, print)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.asyncio
async def test_a_forked_process_hears_of_changes_and_an_exit_is_told_to_nobody() -> None:
    async with ScriptedServer() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS_AND_EXITS, server.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"forked\n"
            await until(lambda: len(server.streams) == 2)
            server.announce(V2, banner="b")
            output, log = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert (process.returncode, output, log) == (0, b"", b"")
