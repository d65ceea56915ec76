"""Whatever a client is given that cannot work is a ConfigurationError that names it, whichever kind of client it is."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from sdk_client import (
    Backoff,
    ClientStoppedError,
    ConfigurationError,
    DocumentError,
    FlagClient,
    FlagClientError,
    KeyRefusedError,
    NotReadyError,
    StreamLimitError,
    SyncFlagClient,
    ValueTypeError,
)
from tests.sdk_client.scripted import KEY

ODD: list[Any] = [
    None,
    -1,
    5,
    "x",
    "",
    b"x",
    [],
    [5],
    {},
    object(),
    True,
    math.nan,
    math.inf,
    Decimal(5),
    10**400,
    object,
]

WORKS: dict[str, list[Any]] = {
    "environment_key": ["x"],
    "api_url": [],
    "stream_url": [None],
    "client_key": [None, "x"],
    "bootstrap": [None, [], {}],
    "cache": [None, "x"],
    "hooks": ["", [], {}],
    "backoff": [None],
    "http": [None],
    "random": [None],
    **{name: [True] for name in ("require_ready", "streaming", "local_evaluation", "offline")},
    **{name: [5] for name in ("ready_timeout", "request_timeout", "spread", "heartbeat", "poll_interval")},
}


@pytest.mark.parametrize("kind", [FlagClient, SyncFlagClient])
@pytest.mark.parametrize("argument", WORKS)
def test_each_argument_takes_what_works_and_names_itself_for_everything_else(argument: str, kind: Any) -> None:
    for value in ODD:
        arguments = {"environment_key": "ser.x", "api_url": "http://127.0.0.1:9", argument: value}
        if any(value is each or (value == each and type(value) is type(each)) for each in WORKS[argument]):
            kind(**arguments)
        else:
            with pytest.raises(ConfigurationError) as raised:
                kind(**arguments)
            assert raised.value.argument == argument
            assert str(raised.value).startswith(argument)


@pytest.mark.parametrize(
    "url",
    [
        "http://h:99999",
        "http://h:-1",
        "http://h:0",
        f"http://{'a' * 70}.com",
        "http://x..y",
        "http://xn--a",
        "http://[",
        "http://a b",
    ],
    ids=["port", "negative port", "port 0", "long label", "empty label", "no idna", "bracket", "space"],
)
def test_an_address_that_no_connection_can_be_made_to_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="stream_url"):
        FlagClient(environment_key=KEY, api_url="http://h", stream_url=url)


@pytest.mark.parametrize(
    "url", ["https://é.example", "http://[::1]:80/x", "http://[fe80::1%25eth0]", "http://my_host:1"]
)
def test_addresses_that_work_are_taken(url: str) -> None:
    FlagClient(environment_key=KEY, api_url=url)


@pytest.mark.parametrize("seconds", [1e-9, 0.05])
def test_polls_cannot_be_made_a_storm(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=r"poll_interval must be 0 for never, or at least 0\.1 seconds"):
        FlagClient(environment_key=KEY, api_url="http://h", poll_interval=seconds)


@pytest.mark.parametrize("name", ["base", "cap", "least"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True], ids=repr)
def test_a_backoff_waits_for_a_time(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"backoff must have a {name} from 0 to 86400 seconds"):
        Backoff(**{name: value})


@pytest.mark.parametrize("kind", [FlagClient, SyncFlagClient])
def test_a_double_is_made_of_a_dict_and_of_nothing_else(kind: Any) -> None:
    values: list[Any] = [None, "flags.json", [], 5]
    for value in values:
        with pytest.raises(ConfigurationError, match="flags must be a dict"):
            kind.from_dict(value)


@pytest.mark.parametrize("kind", [FlagClient, SyncFlagClient])
@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
def test_a_client_refuses_to_be_two_and_its_flags_do_not(act: Callable[[Any], Any], kind: Any) -> None:
    client = kind.from_dict({"banner": True, "limit": 10})
    with pytest.raises(TypeError, match=f"a {kind.__name__} can be neither copied nor pickled"):
        act(client)
    assert pickle.loads(pickle.dumps(client.flags)) == copy.deepcopy(client.flags) == client.flags  # noqa: S301


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("a", "is wrong"),
        DocumentError("x", status=5, retry_after=3.0),
        KeyRefusedError("x", status=401),
        ValueTypeError("JSON", 5),
        NotReadyError(3.0, DocumentError("x", status=500)),
        ClientStoppedError("x"),
        StreamLimitError("a line", 5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_through_a_pool_of_processes_whole(error: FlagClientError) -> None:
    came = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(came), str(came), repr(came.__dict__)) == (type(error), str(error), repr(error.__dict__))
