from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_client import identities as module
from sdk_client.addresses import Addresses
from sdk_client.documents import Document
from sdk_client.errors import ClientStoppedError, ConfigurationError, DocumentError, KeyRefusedError
from sdk_client.flags import Flag, Flags, Source
from sdk_client.identities import MAX_REQUESTS, Identities
from sdk_client.loading import Loader
from sdk_client.reconnect import Backoff
from sdk_client.traits import IdentityRequest, check_traits, identity_request
from tests.publisher.api.serving import serving, settings_for
from tests.sdk_client.scripted import V1, V2, V3

QUICK = Backoff(base=0.001, least=0.01, cap=0.001)
LASTING = Backoff(least=3600.0)
DOWN = DocumentError("cannot reach the flags API: down")
REFUSED = DocumentError("the server answered 400", status=400)


def flags_of(text: str) -> dict[str, Flag]:
    return {"f": Flag("f", enabled=True, value=text)}


class Server:
    """The flags API and the environment's flags in one: what it answers tells who asked for which version."""

    def __init__(self, version: int = V1, source: Source = Source.SERVER) -> None:
        self.environment = Flags(flags_of("environment"), version, source)
        self.lag = 0
        self.labelled = True
        self.stale = False
        self.fault: DocumentError | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked: list[tuple[str, int]] = []
        self.at_once = 0
        self.most = 0

    def change(self, version: int) -> None:
        self.environment = Flags(self.environment, version, Source.SERVER)

    async def identity(self, request: IdentityRequest, version: int) -> Document:
        identifier = json.loads(request.body)["identifier"]
        self.asked.append((identifier, version))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.open.wait()
        finally:
            self.at_once -= 1
        if self.fault is not None:
            raise self.fault
        own = version - self.lag if self.labelled else 0
        return Document(flags_of(f"{identifier} {version}"), own, labelled=self.labelled, stale=self.stale)


@asynccontextmanager
async def asking(server: Server, backoff: Backoff = LASTING, limit: int = 1000) -> AsyncIterator[Identities]:
    identities = Identities(server, lambda: server.environment, random=Random(1), backoff=backoff, limit=limit)
    try:
        yield identities
    finally:
        await identities.aclose()


async def until_asked(server: Server, count: int) -> None:
    async with asyncio.timeout(30):
        while len(server.asked) < count:
            await asyncio.sleep(0)


async def answered(identities: Identities, source: Source, identifier: str = "u") -> Flags:
    """Ask until the answer is from `source`."""
    async with asyncio.timeout(30):
        while (flags := await identities.get(identifier)).source is not source:
            await asyncio.sleep(0.005)
    return flags


# The request


def test_the_request_is_the_same_in_whatever_order_traits_are_given() -> None:
    request = identity_request("ü", {"plan": "free", "age": 3, "beta": True, "score": 0.5, "gone": None})
    assert request.path == "/api/v1/identities/"
    assert json.loads(request.body) == {
        "identifier": "ü",
        "traits": [
            {"trait_key": "age", "trait_value": 3},
            {"trait_key": "beta", "trait_value": True},
            {"trait_key": "gone", "trait_value": None},
            {"trait_key": "plan", "trait_value": "free"},
            {"trait_key": "score", "trait_value": 0.5},
        ],
    }
    assert request == identity_request("ü", {"gone": None, "score": 0.5, "beta": True, "age": 3, "plan": "free"})
    assert identity_request("u", {"a": 1}) != identity_request("u", {"a": True}) != identity_request("u", {"a": 1.0})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "not of type list"),
        ({"value": 1}, "not of type dict"),
        (b"x", "not of type bytes"),
        (float("nan"), "must be a finite number"),
        (float("-inf"), "must be a finite number"),
        (2**63, "must fit into 64 bits"),
        (10**5000, "must fit into 64 bits"),
        ("\ud800", "must not contain half of a surrogate pair"),
    ],
    ids=["list", "dict", "bytes", "nan", "inf", "65 bits", "long", "surrogate"],
)
def test_a_trait_that_cannot_be_one_is_named(value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the trait 'plan' .*{problem}") as caught:
        identity_request("u", {"age": 3, "plan": value})
    assert caught.value.argument == "the trait 'plan'"


@pytest.mark.parametrize("traits", [["plan"], "plan", {3: "x"}, {"": "x"}, {"\ud800": 1}], ids=repr)
def test_traits_are_a_mapping_by_name(traits: Any) -> None:
    with pytest.raises(ConfigurationError, match="traits must"):
        identity_request("u", traits)


@pytest.mark.parametrize("identifier", ["", None, 3, "\ud800"], ids=repr)
def test_an_identifier_is_text(identifier: Any) -> None:
    with pytest.raises(ConfigurationError, match="identifier must"):
        identity_request(identifier)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()))
def test_whatever_traits_are_given_they_are_sent_as_they_are_or_refused(traits: dict[str, Any]) -> None:
    try:
        request = identity_request("u", traits)
    except ConfigurationError:
        return
    sent = {trait["trait_key"]: trait["trait_value"] for trait in json.loads(request.body)["traits"]}
    assert sent == traits == check_traits(traits)


# Remembering


@pytest.mark.asyncio
async def test_an_identity_is_asked_for_once_a_change() -> None:
    server = Server()
    async with asking(server) as identities:
        first = await identities.get("u", {"plan": "free"})
        assert (first.value("f"), first.version, first.source) == (f"u {V1}", V1, Source.SERVER)
        assert await identities.get("u", {"plan": "free"}) is first
        assert len(server.asked) == 1
        server.change(V2)
        assert (await identities.get("u", {"plan": "free"})).version == V2
        assert await identities.get("u", {"plan": "free"}) is not first
        assert server.asked == [("u", V1), ("u", V2)]
        assert (identities.counts.requests, identities.counts.remembered) == (2, 2)


@pytest.mark.asyncio
async def test_the_same_identity_with_other_traits_is_asked_for_again() -> None:
    server = Server()
    async with asking(server) as identities:
        for traits in ({}, {"a": 1}, {"a": True}, {"a": "1"}, {"a": 1, "b": None}, None):
            await identities.get("u", traits)
        assert len(server.asked) == 5


@pytest.mark.asyncio
async def test_without_versions_every_new_document_of_the_environment_counts_as_a_change() -> None:
    server = Server(version=0)
    server.labelled = False
    async with asking(server) as identities:
        await identities.get("u")
        await identities.get("u")
        assert len(server.asked) == 1
        server.change(0)
        await identities.get("u")
        assert len(server.asked) == 2


@pytest.mark.asyncio
async def test_the_same_version_from_another_source_is_no_change() -> None:
    server = Server(source=Source.CACHE)
    async with asking(server) as identities:
        await identities.get("u")
        server.change(V1)
        await identities.get("u")
        assert len(server.asked) == 1


@pytest.mark.asyncio
async def test_the_least_recently_asked_for_is_forgotten_first() -> None:
    server = Server()
    async with asking(server, limit=3) as identities:
        for identifier in ("a", "b", "c", "a", "d", "a", "c", "d"):
            await identities.get(identifier)
        assert [identifier for identifier, _ in server.asked] == ["a", "b", "c", "d"]
        await identities.get("b")
        assert len(server.asked) == 5
        assert len(identities._entries) == 3


@pytest.mark.asyncio
async def test_flags_are_not_kept_for_ever_though_no_change_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AGE", 0.01)
    server = Server()
    async with asking(server) as identities, asyncio.timeout(30):
        while len(server.asked) < 2:
            await identities.get("u")
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["stale", "older"])
async def test_an_answer_behind_the_environment_is_used_and_soon_asked_for_again(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    server.stale, server.lag = how == "stale", int(how == "older")
    async with asking(server) as identities:
        flags = await identities.get("u")
        assert (flags.version, flags.source) == ((V1, Source.CACHE) if how == "stale" else (V1 - 1, Source.SERVER))
        assert await identities.get("u") is flags
        assert len(server.asked) == 1, "a server that stays behind would be asked for every page view"
    monkeypatch.setattr(module, "SOON", 0.01)
    async with asking(server) as identities, asyncio.timeout(30):
        while len(server.asked) < 4:
            await identities.get("u")
            await asyncio.sleep(0.005)


# One request for all who wait


@pytest.mark.asyncio
async def test_whoever_asks_for_the_same_waits_for_the_same_request() -> None:
    server = Server()
    server.open.clear()
    async with asking(server) as identities:
        waiting = [asyncio.create_task(identities.get("u", {"a": 1})) for _ in range(50)]
        await until_asked(server, 1)
        server.open.set()
        answers = await asyncio.gather(*waiting)
        assert len(server.asked) == 1
        assert all(flags is answers[0] for flags in answers)


@pytest.mark.asyncio
async def test_who_is_cancelled_takes_nothing_from_the_others() -> None:
    server = Server()
    server.open.clear()
    async with asking(server) as identities:
        waiting = [asyncio.create_task(identities.get("u")) for _ in range(3)]
        await until_asked(server, 1)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        server.open.set()
        assert [flags.source for flags in await asyncio.gather(*waiting[1:])] == [Source.SERVER] * 2
        assert len(server.asked) == 1


@pytest.mark.asyncio
async def test_who_asks_after_a_change_does_not_get_the_answer_to_a_request_from_before_it() -> None:
    server = Server()
    server.open.clear()
    async with asking(server) as identities:
        before = asyncio.create_task(identities.get("u"))
        await until_asked(server, 1)
        server.change(V2)
        after = asyncio.create_task(identities.get("u"))
        await until_asked(server, 2)
        server.open.set()
        assert ((await before).version, (await after).version) == (V1, V2)
        assert (await identities.get("u")).version == V2
        assert len(server.asked) == 2


@pytest.mark.asyncio
async def test_however_many_identities_are_due_a_few_are_asked_for_at_a_time() -> None:
    server = Server()
    server.open.clear()
    async with asking(server) as identities:
        waiting = [asyncio.create_task(identities.get(f"u{number}")) for number in range(200)]
        await until_asked(server, MAX_REQUESTS)
        server.change(V3)
        server.open.set()
        flags = await asyncio.gather(*waiting)
        assert server.most == MAX_REQUESTS
        assert {each.source for each in flags} == {Source.SERVER}
        assert server.asked[-1] == ("u199", V3), "who had to wait asks for what is new by then"


# Failures


@pytest.mark.asyncio
async def test_when_requests_fail_an_identity_keeps_the_flags_it_had_and_others_get_the_environment_s() -> None:
    server = Server()
    async with asking(server) as identities:
        known = await identities.get("known")
        server.change(V2)
        server.fault = DOWN
        flags = await identities.get("known")
        assert (flags, flags.version, flags.source) == (known, V1, Source.CACHE)
        other = await identities.get("other")
        assert (other, other.version, other.source) == (server.environment, V2, Source.ENVIRONMENT)
        assert (identities.counts.failures, identities.counts.fallbacks) == (1, 2)


@pytest.mark.asyncio
async def test_a_server_that_is_down_is_asked_once_not_once_a_page_view(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.fault = DOWN
    async with asking(server) as identities:
        for number in range(1000):
            assert (await identities.get(f"u{number}")).source is Source.ENVIRONMENT
        assert len(server.asked) == 1
    assert caplog.messages == [
        "identities cannot be fetched: cannot reach the flags API: down; the flags known before are used"
    ]


@pytest.mark.asyncio
async def test_requests_that_fail_together_count_as_one_failure_and_those_in_the_queue_are_not_sent() -> None:
    server = Server()
    server.open.clear()
    server.fault = DOWN
    async with asking(server) as identities:
        waiting = [asyncio.create_task(identities.get(f"u{number}")) for number in range(50)]
        await until_asked(server, MAX_REQUESTS)
        server.open.set()
        assert {flags.source for flags in await asyncio.gather(*waiting)} == {Source.ENVIRONMENT}
        assert len(server.asked) == MAX_REQUESTS
        assert identities._failures == 1


@pytest.mark.asyncio
async def test_once_the_server_is_back_identities_are_fetched_again_by_themselves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = Server()
    server.fault = DOWN
    async with asking(server, QUICK) as identities:
        while identities.counts.failures < 3:
            await identities.get("u")
            await asyncio.sleep(0.001)
        server.fault = None
        assert (await answered(identities, Source.SERVER)).value("f") == f"u {V1}"
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "identities cannot be fetched",
        "identities are fetched again",
    ]


@pytest.mark.asyncio
async def test_retry_after_is_heeded() -> None:
    server = Server()
    server.fault = DocumentError("the server answered 503", status=503, retry_after=3600.0)
    async with asking(server, QUICK) as identities:
        await identities.get("u")
        server.fault = None
        for _ in range(20):
            await asyncio.sleep(0.002)
            assert (await identities.get("u")).source is Source.ENVIRONMENT
        assert len(server.asked) == 1


@pytest.mark.asyncio
async def test_one_identity_that_is_refused_does_not_stand_in_the_way_of_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    async with asking(server) as identities:
        server.fault = REFUSED
        for identifier in ("bad", "bad", "worse"):
            assert (await identities.get(identifier)).source is Source.ENVIRONMENT
        server.fault = None
        assert (await identities.get("good")).source is Source.SERVER
        assert (await identities.get("bad")).source is Source.ENVIRONMENT
        assert [identifier for identifier, _ in server.asked] == ["bad", "worse", "good"]
        server.change(V2)
        assert (await identities.get("bad")).source is Source.SERVER
    assert caplog.messages == ["the server refused an identity, or its traits: the server answered 400"]


@pytest.mark.asyncio
async def test_an_identity_that_is_refused_after_a_change_keeps_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    async with asking(server) as identities:
        known = await identities.get("u")
        server.change(V2)
        server.fault = REFUSED
        for _ in range(3):
            flags = await identities.get("u")
            assert (flags, flags.source) == (known, Source.CACHE)
        assert len(server.asked) == 2
    monkeypatch.setattr(module, "REFUSAL", 0.01)
    async with asking(server) as identities:
        await identities.get("u")
        server.fault = None
        await answered(identities, Source.SERVER)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault", [DOWN, KeyRefusedError("the server refused the environment key", status=401)], ids=str
)
async def test_only_without_any_flags_a_failure_is_raised_and_to_everyone_who_asks(fault: DocumentError) -> None:
    server = Server(version=0, source=Source.NONE)
    server.fault = fault
    async with asking(server) as identities:
        for _ in range(3):
            with pytest.raises(type(fault), match=str(fault)):
                await identities.get("u")
        assert len(server.asked) == 1
        server.change(V1)
        assert (await identities.get("u")).source is Source.ENVIRONMENT


@pytest.mark.asyncio
async def test_closing_answers_those_who_wait_with_the_best_there_is() -> None:
    server = Server()
    async with asking(server) as identities:
        known = await identities.get("known")
        server.change(V2)
        server.open.clear()
        waiting = [asyncio.create_task(identities.get(identifier)) for identifier in ("known", "other")]
        await until_asked(server, 3)
        await identities.aclose()
        first, second = await asyncio.gather(*waiting)
        assert (first, first.source, second.source) == (known, Source.CACHE, Source.ENVIRONMENT)
        assert (await identities.get("new")).source is Source.ENVIRONMENT
        assert len(server.asked) == 3
        assert not identities._flights
        server.environment = Flags()
        with pytest.raises(ClientStoppedError):
            await identities.get("new")


# The real thing


@pytest.mark.asyncio
async def test_the_management_api_answers_identities_and_refuses_what_it_says_it_refuses(tmp_path: Path) -> None:
    async with (
        serving(settings_for(f"sqlite:///{tmp_path / 'flagstream.db'}")) as api,
        httpx.AsyncClient(timeout=20) as http,
    ):
        await api.demo("dev")
        loader = Loader(http, Addresses.of(api.url, None), "dev")
        environment = (await loader.load(0)).answer
        assert isinstance(environment, Document)
        flags = Flags(environment.flags, environment.version, Source.SERVER)
        identities = Identities(loader, lambda: flags, random=Random(1))
        mine = await identities.get("u", {"plan": "free", "age": 3, "beta": True, "score": 0.5, "gone": None})
        assert (dict(mine), mine.version, mine.source) == (dict(flags), flags.version, Source.SERVER)
        assert (await identities.get("u" * 2001)).source is Source.ENVIRONMENT
        assert (await identities.get("u", {"plan": "x" * 2001})).source is Source.ENVIRONMENT
        assert (await identities.get("v")).source is Source.SERVER, "what is wrong with one is not the server's fault"
        assert (identities.counts.requests, identities.counts.failures) == (4, 2)
        await identities.aclose()
