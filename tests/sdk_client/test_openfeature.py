from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

import pytest

pytest.importorskip("openfeature", reason="the extra flagstream[openfeature] is not installed")

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from sdk_client import ConfigurationError, Flag, FlagClient
from sdk_client.flags import Flags, Source
from sdk_client.openfeature import FlagstreamProvider
from sdk_client.openfeature.context import traits_of
from sdk_client.openfeature.resolution import View
from sdk_client.status import Status
from sdk_client.sync import SyncFlagClient

Details = FlagEvaluationDetails[Any]

register = getattr(api, "set_provider_and_wait", api.set_provider)  # up to 0.9, set_provider waits


@pytest.fixture(autouse=True)
def no_providers_are_left() -> Iterator[None]:
    yield
    api.clear_providers()


FEATURES = {
    "banner": True,
    "off": {"enabled": False, "value": "hidden"},
    "yes": {"enabled": True, "value": True},
    "no": {"enabled": True, "value": "false"},
    "text": "hello",
    "long": "x" * 65,
    "empty": {"enabled": True, "value": ""},
    "nothing": {"enabled": True, "value": None},
    "three": 3,
    "typed": {"enabled": True, "value": "3"},
    "half": 0.5,
    "whole": {"enabled": True, "value": 3.0},
    "object": {"enabled": True, "value": '{"title": "a", "sizes": [1, 2]}'},
    "list": {"enabled": True, "value": [1, {"a": 2}]},
    "broken": {"enabled": True, "value": "{"},
}


def client_of(**options: Any) -> OpenFeatureClient:
    register(FlagstreamProvider(FlagClient.from_dict(FEATURES), **options), "here")
    return api.get_client("here")


KINDS = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object", list: "object"}


def ask(client: OpenFeatureClient, key: str, default: Any, context: EvaluationContext | None = None) -> Details:
    details: Details = getattr(client, f"get_{KINDS[type(default)]}_details")(key, default, context)
    return details


async def ask_async(
    client: OpenFeatureClient, key: str, default: Any, context: EvaluationContext | None = None
) -> Details:
    details: Details = await getattr(client, f"get_{KINDS[type(default)]}_details_async")(key, default, context)
    return details


@pytest.mark.parametrize(
    ("key", "default", "value", "reason", "variant"),
    [
        pytest.param("banner", False, True, Reason.STATIC, "on", id="a boolean is the state"),
        pytest.param("off", True, False, Reason.DISABLED, "off", id="a boolean of a feature that is off"),
        pytest.param("no", False, True, Reason.STATIC, "on", id="a boolean is not the value"),
        pytest.param("text", "", "hello", Reason.STATIC, "hello", id="text"),
        pytest.param("typed", "", "3", Reason.STATIC, "3", id="digits are text too"),
        pytest.param("long", "", "x" * 65, Reason.STATIC, None, id="long text names no variant"),
        pytest.param("empty", "default", "", Reason.STATIC, None, id="empty text is a value"),
        pytest.param("three", 0, 3, Reason.STATIC, "3", id="an integer"),
        pytest.param("typed", 0, 3, Reason.STATIC, "3", id="an integer as text, as Flagsmith keeps it"),
        pytest.param("whole", 0, 3, Reason.STATIC, "3", id="a whole number is an integer"),
        pytest.param("half", 0.1, 0.5, Reason.STATIC, "0.5", id="a number"),
        pytest.param("three", 0.1, 3.0, Reason.STATIC, "3.0", id="an integer is a number"),
        pytest.param("object", {}, {"title": "a", "sizes": [1, 2]}, Reason.STATIC, None, id="an object from text"),
        pytest.param("list", [], [1, {"a": 2}], Reason.STATIC, None, id="a list"),
        pytest.param("off", "default", "default", Reason.DISABLED, None, id="the value of a feature that is off"),
        pytest.param("nothing", "default", "default", Reason.DEFAULT, None, id="no value"),
    ],
)
@pytest.mark.asyncio
async def test_a_flag_resolves_to_value_reason_and_variant_sync_and_async(
    key: str, default: Any, value: Any, reason: Reason, variant: str | None
) -> None:
    client = client_of()
    for details in (ask(client, key, default), await ask_async(client, key, default)):
        assert (details.value, type(details.value)) == (value, type(value))
        assert (details.reason, details.variant) == (reason, variant)
        assert (details.error_code, details.error_message) == (None, None)
        assert details.flag_metadata == {"enabled": key != "off", "version": 0, "source": "bootstrap"}


@pytest.mark.parametrize(
    ("key", "default", "code"),
    [
        pytest.param("unknown", "default", ErrorCode.FLAG_NOT_FOUND, id="an unknown feature"),
        pytest.param("three", "default", ErrorCode.TYPE_MISMATCH, id="a number is no text"),
        pytest.param("text", 1, ErrorCode.TYPE_MISMATCH, id="text is no integer"),
        pytest.param("half", 1, ErrorCode.TYPE_MISMATCH, id="a fraction is no integer"),
        pytest.param("yes", 1, ErrorCode.TYPE_MISMATCH, id="a boolean is no integer"),
        pytest.param("yes", 0.1, ErrorCode.TYPE_MISMATCH, id="a boolean is no number"),
        pytest.param("three", {}, ErrorCode.TYPE_MISMATCH, id="a number is no object"),
        pytest.param("typed", {}, ErrorCode.TYPE_MISMATCH, id="JSON of a number is no object"),
        pytest.param("broken", {}, ErrorCode.PARSE_ERROR, id="text that is no JSON"),
    ],
)
@pytest.mark.asyncio
async def test_what_cannot_be_resolved_is_the_default_with_the_standards_error(
    key: str, default: Any, code: ErrorCode
) -> None:
    client = client_of()
    for details in (ask(client, key, default), await ask_async(client, key, default)):
        assert (details.value, details.reason, details.error_code) == (default, Reason.ERROR, code)
        assert key in (details.error_message or "")


def test_a_boolean_may_be_taken_from_the_value_instead_of_the_state() -> None:
    client = client_of(boolean_from="value")
    assert ask(client, "yes", False).value is True
    assert ask(client, "no", True).value is False
    assert ask(client, "off", True).reason == Reason.DISABLED
    assert ask(client, "text", False).error_code == ErrorCode.TYPE_MISMATCH
    assert ask(client, "banner", False).reason == Reason.DEFAULT, "it has no value"


def test_the_value_of_a_feature_that_is_off_may_be_wanted_all_the_same() -> None:
    details = ask(client_of(disabled="value"), "off", "default")
    assert (details.value, details.reason) == ("hidden", Reason.DISABLED)


def test_whoever_changes_an_object_changes_no_flag() -> None:
    client = client_of()
    client.get_object_value("list", [])[1]["a"] = 3  # type: ignore[index]
    assert client.get_object_value("list", []) == [1, {"a": 2}]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param({"boolean_from": "state"}, "boolean_from", id="boolean_from"),
        pytest.param({"disabled": "off"}, "disabled", id="disabled"),
        pytest.param({"identities": "sometimes"}, "identities", id="identities"),
        pytest.param({"spread": 1.0}, "spread", id="the client's own"),
        pytest.param({"ready_timeout": "1"}, "ready_timeout", id="ready_timeout"),
        pytest.param({"client": 5}, "client must be a FlagClient or a SyncFlagClient", id="client"),
    ],
)
def test_arguments_that_cannot_work_are_told_where_they_stand(arguments: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        FlagstreamProvider(**{"client": FlagClient.from_dict({}), **arguments})


def test_a_client_of_its_own_is_checked_at_once() -> None:
    with pytest.raises(ConfigurationError, match="api_url"):
        FlagstreamProvider(environment_key="key", api_url="ftp://nowhere")


@pytest.mark.parametrize(
    ("source", "status", "identity", "reason"),
    [
        pytest.param(Source.SERVER, Status.CURRENT, None, Reason.STATIC, id="current"),
        pytest.param(Source.SERVER, Status.POLLING, None, Reason.STATIC, id="polled"),
        pytest.param(Source.BOOTSTRAP, Status.OFFLINE, None, Reason.STATIC, id="offline"),
        pytest.param(Source.SERVER, Status.STALE, None, Reason.STALE, id="out of touch"),
        pytest.param(Source.SERVER, Status.CLOSED, None, Reason.STALE, id="closed"),
        pytest.param(Source.BOOTSTRAP, Status.STARTING, None, Reason.STALE, id="brought along"),
        pytest.param(Source.CACHE, Status.STARTING, None, Reason.CACHED, id="from disk"),
        pytest.param(Source.SERVER, Status.CURRENT, "b", Reason.TARGETING_MATCH, id="an identity's own"),
        pytest.param(Source.SERVER, Status.CURRENT, "a", Reason.DEFAULT, id="an identity like everybody"),
        pytest.param(Source.CACHE, Status.CURRENT, "b", Reason.CACHED, id="an identity from memory"),
        pytest.param(Source.ENVIRONMENT, Status.CURRENT, "a", Reason.STALE, id="the environment's instead"),
    ],
)
def test_a_reason_says_where_the_flags_are_from_and_how_fresh_they_are(
    source: Source, status: Status, identity: str | None, reason: Reason
) -> None:
    environment = Flags([Flag("x", enabled=True, value="a")], 1, Source.SERVER)
    if identity is None:
        view = View(Flags(environment, 1, source), status)
    else:
        view = View(Flags([Flag("x", enabled=True, value=identity)], 1, source), status, environment)
    assert view.reason(view.flags["x"]) is reason


def test_attributes_become_traits_by_clear_rules() -> None:
    loop: dict[str, Any] = {"name": "outer"}
    loop["self"] = loop
    attributes: dict[str, Any] = {
        "plan": "free",
        "age": 41,
        "score": 0.5,
        "beta": False,
        "since": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "born": date(1985, 6, 7),
        "address": {"city": "Bern", "geo": {"lat": 46.9}},
        "teams": ["a", "b"],
        "dates": [date(2026, 1, 2)],
        "tags": {"b", "a"},
        "rows": ({"a": 1}, MappingProxyType({"b": (2, frozenset([3]))})),
        "mixed": {1, "a"},
        "opaque": [object()],
        "traits": {"plan": "paid", "flat": 1},
        "none": None,
        "nan": float("nan"),
        "infinite": [float("inf")],
        "huge": 2**63,
        "half a pair": "\ud800",
        "bytes": b"x",
        "object": object(),
        "loop": loop,
        "": "nameless",
    }
    traits = traits_of(attributes)
    deep = [name for name in traits if name.startswith("loop.")]
    assert {name: trait for name, trait in traits.items() if name not in deep} == {
        "plan": "paid",
        "age": 41,
        "score": 0.5,
        "beta": False,
        "since": "2026-01-02T03:04:05+00:00",
        "born": "1985-06-07",
        "address.city": "Bern",
        "address.geo.lat": 46.9,
        "teams": '["a", "b"]',
        "dates": '["2026-01-02"]',
        "tags": '["a", "b"]',
        "rows": '[{"a": 1}, {"b": [2, [3]]}]',
        "flat": 1,
    }
    assert len(deep) < 10, "a mapping that holds itself ends"
    json.dumps(traits, allow_nan=False)


def test_a_targeting_key_may_be_a_must() -> None:
    client = client_of(identities="always")
    assert ask(client, "banner", False).error_code == ErrorCode.TARGETING_KEY_MISSING
    assert ask(client, "banner", False, EvaluationContext("user-1")).value is True


def test_a_client_offline_answers_identities_with_everybodys_flags() -> None:
    client = client_of()
    assert ask(client, "text", "", EvaluationContext("user-1", {"plan": "free"})).value == "hello"
    assert ask(client, "text", "", EvaluationContext("\ud800")).error_code == ErrorCode.INVALID_CONTEXT


@pytest.mark.parametrize("kind", [FlagClient, SyncFlagClient], ids=["async", "sync"])
def test_a_client_from_a_dict_stands_in_for_the_server_in_tests(kind: type[FlagClient | SyncFlagClient]) -> None:
    flags = kind.from_dict({"banner": True, "limit": 10})
    register(FlagstreamProvider(flags))
    client = api.get_client()
    assert client.get_boolean_value("banner", False) is True
    assert client.get_integer_value("limit", 0) == 10
    flags.set("limit", 11)
    assert client.get_integer_value("limit", 0) == 11


def test_a_provider_that_is_not_initialised_says_so() -> None:
    details: Callable[..., Any] = FlagstreamProvider(FlagClient.from_dict(FEATURES)).resolve_string_details
    with pytest.raises(Exception, match="not initialised") as caught:
        details("text", "default")
    assert getattr(caught.value, "error_code", None) is ErrorCode.PROVIDER_NOT_READY


def test_hooks_and_tracking_are_there_and_do_nothing() -> None:
    provider = FlagstreamProvider(FlagClient.from_dict(FEATURES))
    assert provider.get_metadata().name == "Flagstream"
    assert provider.get_provider_hooks() == []
    if hasattr(provider, "track"):  # since 0.9
        provider.track("sale")


def test_another_event_loop_is_not_needed_where_nothing_is_waited_for() -> None:
    client = client_of()
    assert asyncio.run(ask_async(client, "three", 0, EvaluationContext("user-1"))).value == 3
