"""What OpenFeature's provider conformance suite asks (specification, appendix F, experimental), restated as tables.

Its flags, types, values, reasons and error codes are facts of the specification; the capabilities claimed are all but
``@variants``, for Flagsmith's features have no names for their values. Events, lifecycle and outages, which it
asks for as well, are in test_openfeature_events.py. Booleans are taken from the value here, as the suite means them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("openfeature", reason="the extra flagstream[openfeature] is not installed")

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from sdk_client import FlagClient
from sdk_client.openfeature import FlagstreamProvider

PICTURES = {"showImages": True, "title": "Check out these pics!", "imagesPerPage": 100}

ENABLED = {
    "boolean-flag": True,
    "string-flag": "hi",
    "integer-flag": 10,
    "float-flag": 0.5,
    "large-integer-flag": 2**31 - 1,
    "huge-integer-flag": 2**53 - 1,
    "integral-float-flag": 10.0,
    "boolean-zero-flag": False,
    "integer-zero-flag": 0,
    "string-zero-flag": "",
    "object-flag": PICTURES,
    "wrong-flag": "uno",
}
DISABLED = {f"disabled-{key}": ENABLED[key] for key in ("boolean-flag", "string-flag", "integer-flag", "float-flag")}

ACCESSORS = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object"}


@pytest.fixture(scope="module")
def client() -> Iterator[OpenFeatureClient]:
    features = {key: {"enabled": True, "value": value} for key, value in ENABLED.items()}
    features |= {key: {"enabled": False, "value": value} for key, value in DISABLED.items()}
    register = getattr(api, "set_provider_and_wait", api.set_provider)
    register(FlagstreamProvider(FlagClient.from_dict(features), boolean_from="value"), "conformance")
    yield api.get_client("conformance")
    api.clear_providers()


def ask(client: OpenFeatureClient, key: str, default: Any, context: EvaluationContext | None = None) -> Any:
    return getattr(client, f"get_{ACCESSORS[type(default)]}_details")(key, default, context)


@pytest.mark.parametrize(
    ("key", "default", "value"),
    [
        ("boolean-flag", False, True),
        ("string-flag", "bye", "hi"),
        ("integer-flag", 1, 10),
        ("float-flag", 0.1, 0.5),
        ("boolean-zero-flag", True, False),
        ("integer-zero-flag", 1, 0),
        ("string-zero-flag", "fallback", ""),
        ("large-integer-flag", 1, 2**31 - 1),
        ("huge-integer-flag", 1, 2**53 - 1),
        ("integral-float-flag", 1, 10),
        ("integer-flag", 0.1, 10.0),
        ("object-flag", {}, PICTURES),
    ],
)
def test_a_value_is_resolved_statically_without_an_error(
    client: OpenFeatureClient, key: str, default: Any, value: Any
) -> None:
    details = ask(client, key, default)
    assert (details.value, type(details.value)) == (value, type(value))
    assert (details.reason, details.error_code, details.error_message) == (Reason.STATIC, None, None)
    somebody = ask(client, key, default, EvaluationContext("f20bd32d-703b-48b6-bc8e-79d53c85134a"))
    assert (somebody.value, somebody.reason, somebody.error_code) == (value, Reason.DEFAULT, None)


@pytest.mark.parametrize(("key", "default"), [*zip(DISABLED, (False, "bye", 1, 0.1), strict=True)])
def test_a_disabled_flag_is_the_callers_default_and_no_error(client: OpenFeatureClient, key: str, default: Any) -> None:
    details = ask(client, key, default)
    assert (details.value, details.reason, details.variant) == (default, Reason.DISABLED, None)
    assert (details.error_code, details.error_message) == (None, None)


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("string-flag", False),
        ("string-flag", 1),
        ("string-flag", 0.1),
        ("wrong-flag", False),
        ("boolean-flag", "fallback"),
        ("boolean-flag", 1),
        ("boolean-flag", 0.1),
        ("integer-flag", False),
        ("integer-flag", "fallback"),
        ("float-flag", False),
        ("float-flag", "fallback"),
        ("float-flag", 1),
        ("object-flag", False),
        ("object-flag", "fallback"),
        ("object-flag", 1),
        ("object-flag", 0.1),
    ],
)
def test_another_type_than_the_flags_is_a_mismatch_and_the_default(
    client: OpenFeatureClient, key: str, default: Any
) -> None:
    details = ask(client, key, default)
    assert (details.value, details.reason, details.error_code) == (default, Reason.ERROR, ErrorCode.TYPE_MISMATCH)


def test_an_unknown_flag_is_not_found(client: OpenFeatureClient) -> None:
    details = ask(client, "missing-flag", "fallback")
    assert (details.value, details.reason, details.error_code) == ("fallback", Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)


def test_the_provider_has_a_name() -> None:
    assert FlagstreamProvider(FlagClient.from_dict({})).get_metadata().name
